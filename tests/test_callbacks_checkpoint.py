"""The callback that keeps one checkpoint file up to date."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from scripted import Scripted, ScriptedAdversary, demonstrations_of, make_learner, wrapped_copies
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from sb3_gail import load_checkpoint
from sb3_gail.callbacks import (
    BCAnnealingCallback,
    CriticWarmupCallback,
    GAILCallback,
    ImitationCheckpointCallback,
    MinimumStdCallback,
)


@contextmanager
def run() -> Iterator[tuple[OnPolicyAlgorithm, GAILCallback]]:
    """A learner with rollouts of 12 steps."""
    adversary = ScriptedAdversary()
    with wrapped_copies(adversary) as venv:
        yield make_learner("PPO", venv), GAILCallback(adversary, demonstrations_of(Scripted()))


def saved(path: Path) -> tuple[int, int]:
    """Steps and generation of the adversary in a file."""
    adversary = ScriptedAdversary()
    with wrapped_copies(adversary) as venv:
        model = load_checkpoint(path, PPO, venv, GAILCallback(adversary, demonstrations_of(Scripted())))
    return model.num_timesteps, adversary.generation


class Watching(BaseCallback):
    """Notes the steps at which the file changed, as seen at the end of each rollout."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.seen: list[tuple[int, int] | None] = []

    def _on_rollout_end(self) -> None:
        random_state, numpy_state = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
        self.seen.append(saved(self.path) if self.path.exists() else None)
        torch.set_rng_state(random_state)
        np.random.set_state(numpy_state)  # noqa: NPY002

    def _on_step(self) -> bool:
        return True


@pytest.mark.parametrize(
    "changes",
    [CriticWarmupCallback(1), BCAnnealingCallback(demonstrations_of(Scripted())), MinimumStdCallback()],
)
def test_what_changes_the_policy_between_rollouts_comes_before_it(changes: BaseCallback, tmp_path: Path) -> None:
    with run() as (model, gail):
        saving = ImitationCheckpointCallback(gail, tmp_path / "run.zip", save_freq=20)
        with pytest.raises(ValueError, match=f"expected {type(changes).__name__}, .* got it after"):
            model.learn(24, callback=[gail, saving, changes])
        assert model.num_timesteps == 0
        model.learn(24, callback=[gail, changes, saving])
    assert saved(tmp_path / "run.zip") == (24, 2)


@pytest.mark.parametrize("first", ["gail", "checkpoint"])
def test_it_saves_between_rollouts_and_at_the_end(
    first: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "runs" / "run.zip"
    with run() as (model, gail):
        saving = ImitationCheckpointCallback(gail, path, save_freq=20, verbose=1)
        watching = Watching(path)
        callbacks = [gail, saving] if first == "gail" else [saving, gail]
        model.learn(72, callback=[*callbacks, watching])
    # The first rollout boundary after 20 more steps is at 24, then 48: each with the adversary of its rollouts.
    assert watching.seen == [None, None, (24, 2), (24, 2), (48, 4), (48, 4)]
    assert saved(path) == (72, 6)
    assert list(path.parent.iterdir()) == [path]
    assert capsys.readouterr().out.splitlines() == [
        f"Saved the run at {steps} steps to {path}" for steps in (24, 48, 72)
    ]


class Interrupting(BaseCallback):
    def _on_step(self) -> bool:
        if self.num_timesteps == 30:
            raise KeyboardInterrupt
        return True


def test_an_interrupted_run_leaves_the_last_rollout_boundary(tmp_path: Path) -> None:
    path = tmp_path / "run.zip"
    with run() as (model, gail), pytest.raises(KeyboardInterrupt):
        model.learn(72, callback=[gail, ImitationCheckpointCallback(gail, path, save_freq=1), Interrupting()])
    assert saved(path) == (24, 2)


def test_a_resumed_run_counts_from_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "run.zip"
    with run() as (model, gail):
        saving, watching = ImitationCheckpointCallback(gail, path, save_freq=24), Watching(path)
        model.learn(12, callback=[gail, saving])
        model.learn(36, callback=[gail, saving, watching], reset_num_timesteps=False)
    assert watching.seen == [(12, 1), (12, 1), (36, 3)]
    assert saved(path) == (48, 4)


def test_it_needs_gail_beside_it(tmp_path: Path) -> None:
    with run() as (model, gail):
        saving = ImitationCheckpointCallback(gail, tmp_path / "run.zip", save_freq=1)
        with pytest.raises(ValueError, match=r"give learn\(\) both, \[gail, this\]"):
            model.learn(12, callback=saving)
        assert model.num_timesteps == 0


@pytest.mark.parametrize("save_freq", [0, -5])
def test_a_frequency_must_be_positive(save_freq: int, tmp_path: Path) -> None:
    gail = GAILCallback(ScriptedAdversary(), demonstrations_of(Scripted()))
    with pytest.raises(ValueError, match=f"save_freq must be a positive number of environment steps, got {save_freq}"):
        ImitationCheckpointCallback(gail, tmp_path / "run.zip", save_freq=save_freq)
