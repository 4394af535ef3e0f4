"""Tests of the bound on a policy's deviation."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import TRPO
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback, CallbackList

from sb3_gail.callbacks import MinimumStdCallback


class Collapse(BaseCallback):
    """Stands for an update that takes the noise out, and records what the next rollout is collected with."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def _on_rollout_end(self) -> None:
        self.seen.append(float(self._log_std.exp()))
        self._log_std.fill_(-5.0)

    def _on_step(self) -> bool:
        return True

    @property
    def _log_std(self) -> torch.Tensor:
        policy: Any = self.model.policy
        log_std: torch.Tensor = policy.log_std.data
        return log_std


@pytest.mark.parametrize("algorithm", [TRPO, PPO])
def test_each_rollout_is_collected_with_at_least_the_share(algorithm: Any) -> None:
    kwargs = {"log_std_init": math.log(0.8)}
    model = algorithm("MlpPolicy", gym.make("Pendulum-v1"), n_steps=16, batch_size=16, policy_kwargs=kwargs, seed=0)
    collapse = Collapse()
    model.learn(48, callback=CallbackList([MinimumStdCallback(0.25), collapse]))
    assert collapse.seen == pytest.approx([0.8, 0.2, 0.2], abs=1e-6)


def test_a_loaded_model_keeps_the_bound(tmp_path: Any) -> None:
    model = PPO("MlpPolicy", gym.make("Pendulum-v1"), n_steps=16, batch_size=16, policy_kwargs={"log_std_init": -1.0})
    model.learn(32, callback=CallbackList([MinimumStdCallback(), Collapse()]))
    model.save(tmp_path / "model.zip")
    collapse = Collapse()
    PPO.load(tmp_path / "model.zip", env=gym.make("Pendulum-v1")).learn(
        16, callback=CallbackList([MinimumStdCallback(), collapse])
    )
    assert collapse.seen == pytest.approx([0.5 * math.exp(-1.0)])


def test_a_larger_deviation_stays() -> None:
    model = PPO("MlpPolicy", gym.make("Pendulum-v1"), n_steps=16, batch_size=16)
    with torch.no_grad():
        model.policy.log_std.fill_(0.3)
    model.learn(16, callback=MinimumStdCallback())
    np.testing.assert_allclose(model.policy.log_std.detach().cpu().numpy(), 0.3, atol=0.01)


@pytest.mark.parametrize(
    ("model", "got"),
    [
        (lambda: PPO("MlpPolicy", gym.make("CartPole-v1")), "PPO with Categorical"),
        (lambda: PPO("MlpPolicy", gym.make("Pendulum-v1"), use_sde=True), "PPO with StateDependentNoise"),
        (lambda: SAC("MlpPolicy", gym.make("Pendulum-v1")), "SAC with NoneType"),
    ],
)
def test_other_actions_are_refused(model: Any, got: str) -> None:
    with pytest.raises(TypeError, match=f"needs a policy with Gaussian actions .* got {got}"):
        model().learn(1, callback=MinimumStdCallback())


@pytest.mark.parametrize("share", [0.0, 1.5, -0.1])
def test_share_is_one(share: float) -> None:
    with pytest.raises(ValueError, match=r"share must lie in \(0, 1\]"):
        MinimumStdCallback(share)
