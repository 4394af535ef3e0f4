"""A file is there whole, or as it was before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sb3_gail.files import held, replacing


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


def hold_again(folder: Path) -> None:
    with held(folder):
        pass


def test_a_folder_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(BlockingIOError, match=r"another process works on .*: wait for it, or name"):
        hold_again(tmp_path)
    hold_again(tmp_path)


def test_a_process_that_is_killed_lets_go(tmp_path: Path) -> None:
    code = "import sys, time; from pathlib import Path; from sb3_gail.files import held\n"
    code += "with held(Path(sys.argv[1])): print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(BlockingIOError):
            hold_again(tmp_path)
        process.kill()
        process.wait()
    hold_again(tmp_path)
