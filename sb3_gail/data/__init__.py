"""Demonstrations that come with the package; `README.md` beside them says how they were made."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent


def shipped(env_id: str) -> Path:
    """The file of demonstrations that ships for an environment.

    Args:
        env_id: Its Gymnasium id, such as `"Hopper-v5"`.

    Raises:
        ValueError: If none ships for it.
    """
    path = _FOLDER / f"{env_id}.npz"
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in _FOLDER.glob("*.npz")))
        raise ValueError(
            f"no demonstrations ship for {env_id!r}, only for: {there}; give a file of your own, such as one that "
            f"`sb3-gail record` wrote"
        )
    return path
