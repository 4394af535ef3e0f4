"""Files of arrays, whole and broken."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest

from sb3_gail.npz import read_npz, write_npz


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6, dtype=np.uint8).reshape(2, 3), "b.c": np.array("text"), "d": np.array(1.5)}
    write_npz(tmp_path / "no_suffix", arrays)
    read = read_npz(tmp_path / "no_suffix")
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)
    assert [path.name for path in tmp_path.iterdir()] == ["no_suffix"]


def pickled() -> bytes:
    return pickle.dumps({"a": 1})


def pickled_entry() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.array([{}], dtype=object))
    return file.getvalue()


def single_array() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


def plain() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, a=np.random.default_rng(0).normal(size=(20, 3)), b=np.arange(4))
    return file.getvalue()


@pytest.mark.parametrize(
    "contents", [b"", b"no archive", pickled(), pickled_entry(), single_array()], ids=lambda contents: contents[:8]
)
def test_other_files_are_refused(tmp_path: Path, contents: bytes) -> None:
    path = tmp_path / "file.npz"
    path.write_bytes(contents)
    with pytest.raises(ValueError, match=r"expected a whole \.npz file .*file\.npz"):
        read_npz(path)


def test_a_file_of_another_format_is_not_said_to_be_broken(tmp_path: Path) -> None:
    path = tmp_path / "steps.csv"
    path.write_text("x,y,done\n0.1,0.2,0\n")
    with pytest.raises(ValueError, match=r"which is none: read it with the library that knows its format") as error:
        read_npz(path)
    assert "pickle" not in str(error.value)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path, whole = tmp_path / "cut.npz", plain()
    for end in range(0, len(whole), 7):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match="whole"):
            read_npz(path)


def test_an_altered_file_is_refused_or_read_but_nothing_else(tmp_path: Path) -> None:
    path, whole, rng = tmp_path / "altered.npz", plain(), np.random.default_rng(0)
    refused = 0
    for _ in range(500):
        altered = bytearray(whole)
        altered[rng.integers(len(whole))] = rng.integers(256)
        path.write_bytes(altered)
        try:
            read_npz(path)
        except ValueError:
            refused += 1
    assert refused > 250


def test_the_file_system_speaks_for_itself(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_npz(tmp_path / "missing.npz")
    with pytest.raises(IsADirectoryError):
        read_npz(tmp_path)
