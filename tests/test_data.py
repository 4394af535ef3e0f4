"""The demonstrations that ship."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from sb3_gail import Demonstrations
from sb3_gail.data import shipped


@pytest.mark.parametrize(("env_id", "return_"), [("CartPole-v1", 500), ("Hopper-v5", 3493)])
def test_shipped_files_are_an_experts(env_id: str, return_: float) -> None:
    demonstrations = Demonstrations.load(shipped(env_id))
    assert demonstrations.env_id == env_id
    assert demonstrations.n_episodes == 10
    assert demonstrations.mean_return == pytest.approx(return_, rel=0.001)
    assert demonstrations.transitions().observations.dtype == np.float32  # type: ignore[union-attr]


def test_shipped_files_are_small() -> None:
    assert sum(shipped(env_id).stat().st_size for env_id in ("CartPole-v1", "Hopper-v5")) < 700_000


def test_recorded_actions_lead_through_the_recorded_observations() -> None:
    """CartPole goes the same way again from the same state."""
    demonstrations = Demonstrations.load(shipped("CartPole-v1"))
    episode = next(iter(demonstrations.episodes()))
    env = gym.make("CartPole-v1").unwrapped
    env.reset(seed=0)
    observations = np.asarray(episode.observations)
    for before, action, after in zip(observations[:-1], episode.actions, observations[1:], strict=True):
        env.state = before.astype(np.float64)  # type: ignore[attr-defined]
        np.testing.assert_allclose(env.step(int(action))[0], after, rtol=1e-4, atol=1e-6)


def test_others_are_an_error_that_names_those_that_ship() -> None:
    with pytest.raises(ValueError, match="no demonstrations ship for 'Walker2d-v5', only for: CartPole-v1, Hopper-v5"):
        shipped("Walker2d-v5")
