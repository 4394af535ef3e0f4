from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from sb3_contrib import TRPO
from spaces_env import BOX, IMAGE, VECTOR, SpacesEnv
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_gail.callbacks.critic_warmup import CriticWarmupCallback
from sb3_gail.likelihood import actor_parameters

LEARNERS: dict[Any, dict[str, Any]] = {
    A2C: {"n_steps": 8, "ent_coef": 0.1},
    PPO: {"n_steps": 8, "batch_size": 8, "n_epochs": 2, "ent_coef": 0.1},
    TRPO: {"n_steps": 8, "batch_size": 8, "n_critic_updates": 1},
}


class Rewarding(SpacesEnv):
    """Rewards the first action, so that updates have something to learn."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, _, terminated, truncated, info = super().step(action)
        return observation, float(action[0]), terminated, truncated, info


def make(algorithm: Any, policy: str = "MlpPolicy", observation_space: Any = VECTOR) -> Any:
    venv = DummyVecEnv([lambda: Rewarding(observation_space, BOX)] * 2)
    return algorithm(policy, venv, seed=0, **LEARNERS[algorithm])


class Weights(BaseCallback):
    """Keeps actor and critic parameters at each rollout's start, and whether the optimiser remembers the actor's."""

    def __init__(self) -> None:
        super().__init__()
        self.actor: list[list[torch.Tensor]] = []
        self.critic: list[list[torch.Tensor]] = []
        self.remembers: list[bool] = []

    def _on_rollout_start(self) -> None:
        policy = self.model.policy
        actor = actor_parameters(policy)
        ids = set(map(id, actor))
        self.actor.append([parameter.detach().clone() for parameter in actor])
        self.critic.append([p.detach().clone() for p in policy.parameters() if id(p) not in ids])
        self.remembers.append(any(parameter in policy.optimizer.state for parameter in actor))

    def _on_step(self) -> bool:
        return True


def moved(weights: Sequence[Sequence[torch.Tensor]]) -> list[bool]:
    """Whether the weights changed from each rollout to the next."""
    return [
        any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
        for before, after in pairwise(weights)
    ]


@pytest.mark.parametrize("algorithm", [A2C, PPO, TRPO])
def test_the_critic_learns_and_the_policy_waits(algorithm: Any) -> None:
    model, weights = make(algorithm), Weights()
    model.learn(16 * 6, callback=[CriticWarmupCallback(2), weights])
    assert moved(weights.actor) == [False, False, True, True, True]
    assert all(moved(weights.critic))
    assert not any(weights.remembers[:3])


def test_training_that_ends_in_the_warmup() -> None:
    model, warmup = make(PPO), CriticWarmupCallback(9)
    before = [parameter.detach().clone() for parameter in actor_parameters(model.policy)]
    model.learn(16, callback=warmup)
    assert not moved([before, actor_parameters(model.policy)])[0]
    model.learn(16, callback=warmup, reset_num_timesteps=False)
    assert not moved([before, actor_parameters(model.policy)])[0]


def test_a_shared_feature_extractor_waits() -> None:
    model = make(A2C, "CnnPolicy", IMAGE)
    before = [parameter.detach().clone() for parameter in model.policy.features_extractor.parameters()]
    model.learn(32, callback=CriticWarmupCallback(2))
    assert not moved([before, list(model.policy.features_extractor.parameters())])[0]


def test_settings_and_learners_are_checked() -> None:
    with pytest.raises(ValueError, match="n_rollouts must be a positive whole number, got 0"):
        CriticWarmupCallback(0)
    with pytest.raises(ValueError, match=r"n_rollouts must be a positive whole number, got 2\.5"):
        CriticWarmupCallback(2.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"on-policy learner .* got SAC"):
        SAC("MlpPolicy", SpacesEnv(VECTOR, BOX), buffer_size=10).learn(1, callback=CriticWarmupCallback(1))
