"""Checkpoints: a resumed run is the uninterrupted one, and no file is half written."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sb3_contrib import TRPO
from scripted import LEARNERS, Scripted, ScriptedAdversary, demonstrations_of, make_learner, normalised, wrapped_copies
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from sb3_gail import Demonstrations, Discriminator, load_checkpoint, save_checkpoint
from sb3_gail.callbacks import GAILCallback

N_STEPS = 6


class Forgetful(Scripted):
    """Episodes are all alike, and end with the rollout."""

    def __init__(self, copy: int = 0, *, lengths: tuple[int, ...] = (3,), ends: str = "truncated") -> None:
        super().__init__(copy, lengths=lengths, ends=ends)

    def observe(self) -> Any:
        observation = super().observe()
        observation[1] = 0.0
        return observation


DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def discriminator_of(demonstrations: Demonstrations, seed: int = 0, device: str = "auto") -> Discriminator:
    torch.manual_seed(seed)
    # A batch of 20 and rollouts of 12: some transitions always wait for the next one.
    return Discriminator.from_demonstrations(
        demonstrations, hidden_sizes=(8,), batch_size=20, transitions_per_step=5, spectral_norm=True, device=device
    )


def everything(model: OnPolicyAlgorithm, gail: GAILCallback) -> dict[str, Any]:
    """All numbers that a run is made of."""
    state: dict[str, Any] = {f"policy.{name}": value for name, value in model.policy.state_dict().items()}
    optimizer = model.policy.optimizer.state_dict()["state"]
    state |= {f"optimizer.{index}.{name}": value for index, part in optimizer.items() for name, value in part.items()}
    adversary = gail.adversary.state_dict()
    for part in ("network", "encoder"):
        state |= {f"{part}.{name}": value for name, value in adversary[part].items()}
    state["owed"] = adversary["transitions_owed"]
    for index, batch in enumerate([*adversary["pending"], *(rollout.to_arrays() for rollout in gail.replay)]):
        state |= {f"batch.{index}.{name}": np.asarray(rows) for name, rows in batch.items()}
    vec_normalize = model.get_vec_normalize_env()
    if vec_normalize is not None:
        for name in ("obs_rms", "ret_rms"):
            statistics = getattr(vec_normalize, name)
            state |= {f"{name}.{moment}": getattr(statistics, moment) for moment in ("mean", "var", "count")}
    numpy_draw = np.random.rand(3)  # noqa: NPY002
    state |= {"torch": torch.rand(3), "numpy": numpy_draw, "python": random.random()}
    state["timesteps"] = model.num_timesteps
    return {name: value.cpu() if isinstance(value, torch.Tensor) else value for name, value in state.items()}


class SavingOnce(BaseCallback):
    """Saves at the start of the third rollout."""

    def __init__(self, gail: GAILCallback, path: Path) -> None:
        super().__init__()
        self.gail, self.path, self.rollouts = gail, path, 0

    def _on_rollout_start(self) -> None:
        self.rollouts += 1
        if self.rollouts == 3:
            random.random()  # as an environment or another callback might
            save_checkpoint(self.path, self.gail)

    def _on_step(self) -> bool:
        return True


@pytest.mark.parametrize("learner", ["TRPO", "PPO", "A2C"])
@pytest.mark.parametrize("wrapper", ["gym", "vec"])
@pytest.mark.parametrize("normalise", [False, True])
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(
    learner: str, wrapper: str, normalise: bool, tmp_path: Path
) -> None:
    demonstrations = demonstrations_of(Forgetful())

    def outer(venv: VecEnv) -> VecEnv:
        return normalised(venv, norm_reward=True) if normalise else venv

    discriminator = discriminator_of(demonstrations)
    with wrapped_copies(discriminator, wrapper=wrapper, kind=Forgetful) as venv:
        gail = GAILCallback(discriminator, demonstrations, replay_rollouts=1)
        model = make_learner(learner, outer(venv), learning_rate=lambda remaining: 1e-2 * remaining)
        model.learn(5 * 2 * N_STEPS, callback=[gail, SavingOnce(gail, tmp_path / "run.zip")])
        expected = everything(model, gail)

    random.seed(4)
    np.random.seed(4)  # noqa: NPY002
    other = discriminator_of(demonstrations, seed=7)
    with wrapped_copies(other, wrapper=wrapper, kind=Forgetful) as venv:
        resumed_gail = GAILCallback(other, demonstrations, replay_rollouts=1)
        resumed = load_checkpoint(tmp_path / "run.zip", LEARNERS[learner][0], outer(venv), resumed_gail)
        assert resumed.num_timesteps == 2 * 2 * N_STEPS
        resumed.learn(3 * 2 * N_STEPS, callback=resumed_gail, reset_num_timesteps=False)
        got = everything(resumed, resumed_gail)
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


@pytest.mark.parametrize("after", DEVICES)
@pytest.mark.parametrize("before", DEVICES)
def test_a_run_goes_on_on_another_device(before: str, after: str, tmp_path: Path) -> None:
    demonstrations = demonstrations_of(Forgetful())
    discriminator = discriminator_of(demonstrations, device=before)
    with wrapped_copies(discriminator, kind=Forgetful) as venv:
        gail = GAILCallback(discriminator, demonstrations, replay_rollouts=1)
        model = make_learner("TRPO", venv, device=before)
        model.learn(24, callback=gail)
        save_checkpoint(tmp_path / "run.zip", gail)
        saved = everything(model, gail)

    other = discriminator_of(demonstrations, seed=7, device=after)
    with wrapped_copies(other, kind=Forgetful) as venv:
        resumed_gail = GAILCallback(other, demonstrations, replay_rollouts=1)
        resumed = load_checkpoint(tmp_path / "run.zip", TRPO, venv, resumed_gail, device=after)
        for name, value in everything(resumed, resumed_gail).items():
            np.testing.assert_array_equal(value, saved[name], err_msg=name)
        resumed.learn(24, callback=resumed_gail, reset_num_timesteps=False)
    assert {p.device.type for p in [*resumed.policy.parameters(), *other.network.parameters()]} == {after}
    assert resumed.num_timesteps == 48


def trained(path: Path) -> tuple[Demonstrations, GAILCallback]:
    """A checkpoint after one rollout."""
    demonstrations = demonstrations_of(Forgetful())
    discriminator = discriminator_of(demonstrations)
    with wrapped_copies(discriminator, kind=Forgetful) as venv:
        gail = GAILCallback(discriminator, demonstrations)
        make_learner("PPO", venv).learn(12, callback=gail)
        save_checkpoint(path, gail)
    return demonstrations, gail


def load(path: Path, **settings: Any) -> OnPolicyAlgorithm:
    demonstrations = demonstrations_of(Forgetful())
    discriminator = discriminator_of(demonstrations)
    with wrapped_copies(discriminator, kind=Forgetful) as venv:
        env = normalised(venv, **settings) if settings else venv
        return load_checkpoint(path, PPO, env, GAILCallback(discriminator, demonstrations))


@pytest.mark.skipif(torch.cuda.is_available(), reason="stands in for GPUs that are not there")
def test_gpus_that_are_not_used_or_not_there_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(tmp_path / "unused.zip")  # nothing is asked of CUDA, which would raise here
    restored: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: [torch.get_rng_state()] * 2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", lambda states: restored.append(len(states)))
    trained(tmp_path / "two.zip")
    load(tmp_path / "two.zip")
    load(tmp_path / "unused.zip")
    assert restored == [1, 0]


def test_a_callback_that_never_trained_has_nothing_to_save(tmp_path: Path) -> None:
    gail = GAILCallback(ScriptedAdversary(), demonstrations_of(Forgetful()))
    with pytest.raises(ValueError, match=r"given to model.learn\(\), got one without a model"):
        save_checkpoint(tmp_path / "run.zip", gail)
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_no_whole_checkpoint_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.zip"
    with pytest.raises(FileNotFoundError):
        load(path)
    _, gail = trained(path)
    assert load(path).num_timesteps == 12
    whole = path.read_bytes()
    for share in np.linspace(0.0, 0.999, 41):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ValueError, match=r"is cut short: .*run\.zip"):
            load(path)
    for position in range(200, len(whole) - 2000, len(whole) // 7):
        altered = bytearray(whole)
        altered[position] ^= 0xFF
        path.write_bytes(bytes(altered))
        with pytest.raises(ValueError, match=r"run\.zip"):
            load(path)
    path.write_bytes(b"not a zip file")
    with pytest.raises(ValueError, match=r"expected a checkpoint of sb3-gail, got a file that is not one .*run\.zip"):
        load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", "something else")
    with pytest.raises(ValueError, match=r"expected a file of format 'sb3-gail checkpoint 1', got another: .*run\.zip"):
        load(path)
    gail.model.save(path)
    with pytest.raises(ValueError, match=r"got a model that SB3 saved, which PPO\.load reads"):
        load(path)


def test_an_environment_normalised_otherwise_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.zip"
    trained(path)
    with pytest.raises(
        ValueError, match="like the checkpoint's, which had no VecNormalize, got one with a VecNormalize"
    ):
        load(path, norm_reward=True)
    demonstrations = demonstrations_of(Forgetful())
    discriminator = discriminator_of(demonstrations)
    with wrapped_copies(discriminator, kind=Forgetful) as venv:
        gail = GAILCallback(discriminator, demonstrations)
        make_learner("PPO", normalised(venv)).learn(12, callback=gail)
        save_checkpoint(path, gail)
    assert isinstance(load(path, norm_reward=False).get_vec_normalize_env(), VecNormalize)
    with pytest.raises(ValueError, match="which had a VecNormalize, got one with no VecNormalize"):
        load(path)
    with pytest.raises(ValueError, match="expected a VecNormalize of what the checkpoint's normalised"):
        load(path, norm_obs=False)


def test_a_failure_while_writing_leaves_the_last_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.zip"
    _, gail = trained(path)
    before = path.read_bytes()

    def fail() -> dict[str, Any]:
        raise OSError("no space left on device")

    monkeypatch.setattr(gail.adversary, "state_dict", fail)
    with pytest.raises(OSError, match="no space left"):
        save_checkpoint(path, gail)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


KILLED_WHILE_WRITING = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_checkpoint import trained
from sb3_gail import checkpoint
path = Path({path!r})
_, gail = trained(path)
print("first", flush=True)
write = checkpoint._write
def write_half(archive, name, state):
    write(archive, name, state)
    if name == "normalisation.pt":
        assert any(file.name.endswith(".tmp") and file.stat().st_size > 0 for file in path.parent.iterdir())
        print("killing", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
checkpoint._write = write_half
checkpoint.save_checkpoint(path, gail)
print("survived", flush=True)
"""


def test_a_process_killed_while_writing_leaves_the_last_file(tmp_path: Path) -> None:
    path = tmp_path / "run.zip"
    code = KILLED_WHILE_WRITING.format(tests=str(Path(__file__).parent), path=str(path))
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == -signal.SIGKILL, finished.stderr
    assert finished.stdout.split() == ["first", "killing"]
    assert load(path).num_timesteps == 12


def test_a_checkpoint_of_another_algorithm_is_refused(tmp_path: Path) -> None:
    demonstrations = demonstrations_of(Scripted())
    adversary = discriminator_of(demonstrations)
    gail = GAILCallback(adversary, demonstrations)
    with wrapped_copies(adversary, wrapper="vec") as venv:
        make_learner("TRPO", venv).learn(12, callback=gail)
        save_checkpoint(tmp_path / "run.zip", gail)
        with pytest.raises(ValueError, match="expected a checkpoint of PPO, got one of TRPO"):
            load_checkpoint(tmp_path / "run.zip", PPO, venv, gail)
        with pytest.raises(TypeError, match="algorithm must be the class of the model, such as TRPO, got 'trpo'"):
            load_checkpoint(tmp_path / "run.zip", "trpo", venv, gail)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="callback must be a GAILCallback, got GAILRewardVecWrapper"):
            load_checkpoint(tmp_path / "run.zip", PPO, gail, venv)  # type: ignore[arg-type]
