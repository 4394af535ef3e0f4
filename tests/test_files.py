"""A file is there whole, or as it was before."""

from __future__ import annotations

from pathlib import Path

import pytest

from sb3_gail.files import replacing


def test_the_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    with replacing(path) as temporary:
        temporary.write_text("contents")
        assert not path.exists()
        assert temporary.parent == path.parent  # so that the rename stays on one file system
    assert path.read_text() == "contents"
    assert list(path.parent.iterdir()) == [path]


def fail_halfway(path: Path, error: type[BaseException]) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise error


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_block_leaves_the_former_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_text("former")
    with pytest.raises(error):
        fail_halfway(path, error)
    assert path.read_text() == "former"
    assert list(tmp_path.iterdir()) == [path]
