"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from filelock import FileLock, Timeout


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path` and renames it to `path` once the block has ended well.

    A process that is killed meanwhile leaves the previous file as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keeps other processes out of a folder for a block; when this one dies, the system lets go of it.

    Raises:
        BlockingIOError: If another process holds it.
    """
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise BlockingIOError(f"another process works on {folder}: wait for it, or name another folder") from None
    try:
        yield
    finally:
        lock.release()


def state_bytes(name: str, state: Any) -> bytes:
    """A state as `torch.save` writes it, once it is sure that it can be read again.

    Args:
        name: What the state is of, for the message.
        state: Tensors, numbers, text and containers of these.

    Raises:
        TypeError: If it holds something that `torch.load(weights_only=True)` refuses. Were that found out only when a
            run is to go on, the run would be lost.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    try:
        torch.load(buffer, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise TypeError(
            f"expected a state of {name} in tensors, Python's own numbers, text and containers of these, got one that "
            f"torch.load(weights_only=True) refuses; look at its state_dict(): {error}"
        ) from error
    return buffer.getvalue()


def is_of_the_disk(error: Exception) -> bool:
    """Whether reading failed for another cause than the file's own content.

    A seek to where a cut or altered file points is an invalid argument to the system: that is the content's fault.
    """
    return isinstance(error, OSError) and error.errno != errno.EINVAL
