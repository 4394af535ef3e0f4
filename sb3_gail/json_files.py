"""Small JSON files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sb3_gail.files import replacing


def write_json(path: Path, content: Any) -> None:
    """Writes a file, whole or not at all."""
    text = json.dumps(content, indent=2)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Reads a file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"expected JSON, got something else in {path}: {error}") from error
