"""Named arrays in one `.npz` file, read without pickle and written whole or not at all."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile

from sb3_gail.files import is_of_the_disk, replacing
from sb3_gail.transitions import Array

_ZIP = b"PK"
"""What an `.npz` file begins with, since it is a zip archive."""

# All that NumPy and zipfile were seen to raise on cut and altered files.
_CORRUPT = (ValueError, KeyError, EOFError, BadZipFile, zlib.error, NotImplementedError, RuntimeError, MemoryError)


def read_npz(path: str | os.PathLike[str]) -> dict[str, Array]:
    """All arrays of a file.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If it is not an `.npz` file of plain arrays, or is cut short, altered or pickled.
    """
    with Path(path).open("rb") as file:
        if file.read(len(_ZIP)) != _ZIP:
            raise ValueError(
                f"expected a whole .npz file of plain arrays, got {os.fspath(path)!r}, which is none: read it with the "
                f"library that knows its format, and give the arrays to Demonstrations.from_arrays or from_episodes"
            )
        file.seek(0)
        try:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, NpzFile):
                raise ValueError("it is a single array")
            arrays = {key: archive[key] for key in archive.files}
            for key, array in arrays.items():
                if not isinstance(array, np.ndarray):
                    raise ValueError(f"its entry {key!r} is no array")
            return arrays
        except (*_CORRUPT, OSError) as error:
            if is_of_the_disk(error):
                raise
            raise ValueError(
                f"expected a whole .npz file of plain (not pickled) arrays, got {os.fspath(path)!r}, which cannot be "
                f"read ({error}): copy or record it again"
            ) from error


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, Array]) -> None:
    """Writes arrays under their names, compressed, to exactly this path.

    Raises:
        OSError: If the file cannot be written; what was there before stays.
    """
    with replacing(Path(path)) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # taken for allow_pickle
