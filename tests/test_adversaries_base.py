"""What every adversary gets from the contract."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from scripted import Scripted, ScriptedAdversary, demonstrations_of

from sb3_gail import Adversary
from sb3_gail.adversaries import AIRL, Discriminator, FeatureMatching


def test_an_adversary_has_to_say_how_it_rewards_and_learns() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Adversary()  # type: ignore[abstract]


def test_copies_keep_their_identity_and_others_have_another() -> None:
    adversary = ScriptedAdversary()  # which does not call super().__init__()
    assert pickle.loads(pickle.dumps(adversary)).identity == adversary.identity
    assert copy.deepcopy(adversary).identity == adversary.identity
    assert ScriptedAdversary().identity != adversary.identity


def test_a_saved_state_is_loaded_again(tmp_path: Path) -> None:
    adversary, other = ScriptedAdversary(), ScriptedAdversary()
    adversary.generation = 7
    adversary.save(tmp_path / "new" / "adversary.pt")
    other.load(tmp_path / "new" / "adversary.pt")
    assert other.generation == 7
    assert other.identity != adversary.identity


def test_another_adversarys_file_is_refused(tmp_path: Path) -> None:
    demonstrations, path = demonstrations_of(Scripted()), tmp_path / "adversary.pt"
    adversaries = [
        FeatureMatching.from_demonstrations(demonstrations),
        AIRL.from_demonstrations(demonstrations).reward_only(),
        Discriminator.from_demonstrations(demonstrations),
    ]
    for adversary in adversaries:
        ScriptedAdversary().save(path)
        with pytest.raises(ValueError, match="expected"):
            adversary.load(path)


class Exhausted(ScriptedAdversary):
    def state_dict(self) -> dict[str, Any]:
        raise MemoryError


class Unreadable(ScriptedAdversary):
    def state_dict(self) -> dict[str, Any]:
        return {"settings": Path("somewhere")}


def test_a_state_that_could_not_be_loaded_is_not_saved(tmp_path: Path) -> None:
    path = tmp_path / "adversary.pt"
    ScriptedAdversary().save(path)
    before = path.read_bytes()
    with pytest.raises(TypeError, match="expected a state of Unreadable in tensors, Python's own numbers"):
        Unreadable().save(path)
    assert path.read_bytes() == before


def test_a_failed_save_leaves_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "adversary.pt"
    ScriptedAdversary().save(path)
    before = path.read_bytes()
    with pytest.raises(MemoryError):
        Exhausted().save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_broken_files_are_refused(tmp_path: Path) -> None:
    adversary, path = ScriptedAdversary(), tmp_path / "adversary.pt"
    with pytest.raises(FileNotFoundError):
        adversary.load(path)
    with pytest.raises(OSError, match="directory"):
        adversary.load(tmp_path)
    adversary.generation = 3
    adversary.save(path)
    whole = path.read_bytes()
    for contents in (b"", b"no such thing", whole[: len(whole) // 2], pickle.dumps(["generation"], protocol=2)[:-2]):
        path.write_bytes(contents)
        with pytest.raises(ValueError, match=r"expected a whole file that save\(\) wrote, got '.*adversary.pt'"):
            adversary.load(path)
    for end in range(0, len(whole), 20):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match="expected a whole file"):
            adversary.load(path)
    torch.save({"generation": print}, path)  # code is not run
    with pytest.raises(ValueError, match="expected a whole file"):
        adversary.load(path)
    assert adversary.generation == 3
