"""Tests of the schedule of `target_kl`."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import pytest
from sb3_contrib import TRPO
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import BaseCallback, CallbackList

from sb3_gail.callbacks import TargetKLCallback


class Recorder(BaseCallback):
    """Keeps what each update was done with."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def _on_rollout_end(self) -> None:
        learner: Any = self.model
        self.seen.append(learner.target_kl)

    def _on_step(self) -> bool:
        return True


@pytest.mark.parametrize("algorithm", [TRPO, PPO])
def test_each_update_has_the_value_of_its_own_progress(algorithm: Any) -> None:
    model, recorder = algorithm("MlpPolicy", gym.make("CartPole-v1"), n_steps=16, batch_size=16), Recorder()
    model.learn(64, callback=CallbackList([TargetKLCallback((0.05, 0.01)), recorder]))
    assert recorder.seen == pytest.approx([0.04, 0.03, 0.02, 0.01])


def test_a_resumed_model_goes_on_with_the_schedule() -> None:
    model, recorder = TRPO("MlpPolicy", gym.make("CartPole-v1"), n_steps=16, batch_size=16), Recorder()
    callback = CallbackList([TargetKLCallback((0.05, 0.01)), recorder])
    model.learn(32, callback=callback)
    model.learn(32, callback=callback, reset_num_timesteps=False)
    assert recorder.seen == pytest.approx([0.03, 0.01, 0.02, 0.01])


def test_a_learner_without_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs a learner with a target_kl .* got A2C"):
        A2C("MlpPolicy", gym.make("CartPole-v1")).learn(5, callback=TargetKLCallback(0.01))


def test_no_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match=r"target_kl must be a finite number of at least 0, got -0.1"):
        TargetKLCallback((0.02, -0.1))
    with pytest.raises(TypeError, match="target_kl must be a number, a tuple"):
        TargetKLCallback((0.02, 0.01, 0.0))  # type: ignore[arg-type]
