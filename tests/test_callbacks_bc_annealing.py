from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import TRPO, RecurrentPPO
from spaces_env import BOX, VECTOR, SpacesEnv, random_demonstrations
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_gail import Discriminator
from sb3_gail.callbacks import BCAnnealingCallback, GAILCallback
from sb3_gail.likelihood import log_prob
from sb3_gail.wrappers import GAILRewardVecWrapper

LEARNERS: dict[Any, dict[str, Any]] = {
    A2C: {"n_steps": 8},
    PPO: {"n_steps": 8, "batch_size": 8, "n_epochs": 1},
    TRPO: {"n_steps": 8, "batch_size": 8, "n_critic_updates": 1},
}


def make(algorithm: Any = PPO, **settings: Any) -> Any:
    venv = DummyVecEnv([lambda: SpacesEnv(VECTOR, BOX)] * 2)
    return algorithm("MlpPolicy", venv, seed=0, **{**LEARNERS.get(algorithm, {}), **settings})


class Spy(BaseCallback):
    """Keeps the policy's parameters at each rollout's start, before or after other callbacks, and what was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[dict[str, torch.Tensor]] = []
        self.logged: list[dict[str, float]] = []

    def _on_rollout_start(self) -> None:
        self.weights.append({name: value.clone() for name, value in self.model.policy.state_dict().items()})

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.logged.append(dict(self.logger.name_to_value))


@pytest.mark.parametrize("algorithm", [A2C, PPO, TRPO])
def test_takes_steps_on_the_actor_alone_after_each_update(algorithm: Any) -> None:
    model = make(algorithm)
    before, after = Spy(), Spy()
    annealing = BCAnnealingCallback(random_demonstrations(VECTOR, BOX), transitions_per_step=8)
    model.learn(48, callback=[before, annealing, after])
    assert len(before.weights) == 3
    for rollout, (old, new) in enumerate(zip(before.weights, after.weights, strict=True)):
        changed = {name for name in old if not torch.equal(old[name], new[name])}
        assert changed == (set() if rollout == 0 else {name for name in old if "value" not in name})


def test_raises_the_experts_likelihood() -> None:
    demonstrations = random_demonstrations(VECTOR, BOX)
    plain, pulled = make(), make()
    plain.learn(160)
    pulled.learn(160, callback=BCAnnealingCallback(demonstrations, transitions_per_step=1, half_life=None))
    expert = demonstrations.transitions()
    assert log_prob(pulled, expert).mean() > log_prob(plain, expert).mean() + 0.1


def test_one_step_is_adams_with_a_weighted_rate() -> None:
    """Adam's first step moves each parameter by its rate, whatever the gradient."""
    model = make()
    before, after = Spy(), Spy()
    annealing = BCAnnealingCallback(
        random_demonstrations(VECTOR, BOX), weight=0.5, half_life=16, learning_rate=0.01, transitions_per_step=16
    )
    model.learn(32, callback=[before, annealing, after])
    step = after.weights[1]["log_std"] - before.weights[1]["log_std"]
    torch.testing.assert_close(step.abs(), torch.full_like(step, 0.01 * 0.5 * 0.5), rtol=1e-3, atol=0.0)


def test_the_weight_halves_with_environment_steps_and_is_logged() -> None:
    model, after = make(), Spy()
    annealing = BCAnnealingCallback(
        random_demonstrations(VECTOR, BOX), weight=2.0, half_life=16, transitions_per_step=8
    )
    model.learn(48, callback=[annealing, after])
    assert [logged["bc/weight"] for logged in after.logged] == [2.0, 1.0, 0.5]
    assert "bc/loss" not in after.logged[0]
    assert np.isfinite([logged["bc/loss"] for logged in after.logged[1:]]).all()
    model.learn(32, callback=[annealing, after], reset_num_timesteps=False)
    assert [logged["bc/weight"] for logged in after.logged[3:]] == [0.25, 0.125]


def test_the_logged_loss_is_the_negative_log_likelihood() -> None:
    model, after = make(), Spy()
    before, demonstrations = Spy(), random_demonstrations(VECTOR, BOX)
    annealing = BCAnnealingCallback(demonstrations, batch_size=100_000, transitions_per_step=16)
    model.learn(32, callback=[before, annealing, after])
    model.policy.load_state_dict(before.weights[1])
    expected = -log_prob(model, demonstrations.transitions()).mean()
    assert after.logged[1]["bc/loss"] == pytest.approx(expected, rel=0.02)


def test_a_schedule_of_progress_remaining() -> None:
    model, after = make(), Spy()
    annealing = BCAnnealingCallback(random_demonstrations(VECTOR, BOX), weight=lambda p: p**2, half_life=None)
    model.learn(64, callback=[annealing, after])
    assert [logged["bc/weight"] for logged in after.logged] == [1.0, 0.75**2, 0.5**2, 0.25**2]


def test_short_rollouts_are_carried_over() -> None:
    model, before, after = make(A2C, n_steps=2), Spy(), Spy()
    annealing = BCAnnealingCallback(random_demonstrations(VECTOR, BOX), transitions_per_step=12, half_life=None)
    model.learn(32, callback=[before, annealing, after])
    stepped = [
        not torch.equal(old["log_std"], new["log_std"]) for old, new in zip(before.weights, after.weights, strict=True)
    ]
    assert stepped == [False, False, False, True, False, False, True, False]


def test_a_negligible_weight_takes_no_steps() -> None:
    model, before, after = make(), Spy(), Spy()
    annealing = BCAnnealingCallback(random_demonstrations(VECTOR, BOX), weight=5e-4, half_life=None)
    model.learn(48, callback=[before, annealing, after])
    for old, new in zip(before.weights, after.weights, strict=True):
        torch.testing.assert_close(old, new, rtol=0.0, atol=0.0)


def test_beside_gail_under_vec_normalize() -> None:
    demonstrations = random_demonstrations(VECTOR, BOX)
    discriminator = Discriminator.from_demonstrations(
        demonstrations, hidden_sizes=(8,), batch_size=8, transitions_per_step=8
    )
    venv = GAILRewardVecWrapper(DummyVecEnv([lambda: SpacesEnv(VECTOR, BOX)] * 2), discriminator)
    model = TRPO("MlpPolicy", VecNormalize(venv, norm_reward=False), **LEARNERS[TRPO])
    after = Spy()
    model.learn(
        48,
        callback=[
            GAILCallback(discriminator, demonstrations),
            BCAnnealingCallback(demonstrations, transitions_per_step=4),
            after,
        ],
    )
    assert {"bc/loss", "bc/weight", "gail/loss"} <= after.logged[-1].keys()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": -1.0}, "weight must be a finite number of at least 0, got -1.0"),
        ({"half_life": 0}, "half_life must be a positive number of environment steps or None, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"batch_size": 0}, "batch_size must be a positive whole number"),
        ({"transitions_per_step": 0}, "transitions_per_step must be a positive whole number"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BCAnnealingCallback(random_demonstrations(VECTOR, BOX), **settings)


def test_learners_and_demonstrations_are_checked_before_training() -> None:
    demonstrations = random_demonstrations(VECTOR, BOX)
    arrays: Any = {}
    with pytest.raises(TypeError, match="demonstrations must be Demonstrations"):
        BCAnnealingCallback(arrays)
    with pytest.raises(TypeError, match=r"on-policy learner .* got SAC"):
        make(SAC, buffer_size=10).learn(1, callback=BCAnnealingCallback(demonstrations))
    with pytest.raises(TypeError, match="recurrent"):
        RecurrentPPO("MlpLstmPolicy", SpacesEnv(VECTOR, BOX)).learn(1, callback=BCAnnealingCallback(demonstrations))
    with pytest.raises(ValueError, match="actions"):
        make().learn(1, callback=BCAnnealingCallback(random_demonstrations(VECTOR, spaces.Discrete(2))))
