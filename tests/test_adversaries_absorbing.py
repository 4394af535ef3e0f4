"""The absorbing state's logit against shares worked out by hand, and its part in a discriminator's reward."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from sb3_gail import Demonstrations, Discriminator, Transitions
from sb3_gail.adversaries.absorbing import AbsorbingState
from sb3_gail.rewards import REWARDS, gail_reward


def test_logit_is_the_log_ratio_of_shares() -> None:
    # gamma 0.9: ten absorbed steps after each termination.
    state = AbsorbingState(expert_rate=1 / 30, gamma=0.9)
    state.observe(terminations=1, steps=10)
    # Expert: 10 of 40 steps are absorbed; policy: 10 of 20.
    assert state.logit == pytest.approx(math.log(0.25 / 0.5))
    assert state.other_logits_lack == pytest.approx(math.log(0.75 / 0.5))
    assert state.value(gail_reward, torch.zeros(1)).item() == pytest.approx(9 * math.log1p(0.5))
    # An end that tells of the expert by a factor of 4, and one that tells of the policy by as much.
    how = torch.tensor([math.log(4), -math.log(4)])
    assert state.value(gail_reward, how).tolist() == pytest.approx([9 * math.log1p(2.0), 9 * math.log1p(0.125)])


def test_policy_that_terminates_like_the_expert_is_neither_paid_nor_charged() -> None:
    state = AbsorbingState(expert_rate=0.01, gamma=0.99)
    assert state.logit == state.other_logits_lack == 0.0
    state.observe(terminations=20, steps=2000)
    assert state.logit == pytest.approx(0.0)
    # At logit 0, staying alive for good and being absorbed for good are worth the same, whatever the reward's sign.
    for reward in REWARDS.values():
        alive = float(reward(torch.zeros(1))[0]) * 0.99 / (1 - 0.99)
        assert state.value(reward, torch.zeros(1)).item() == pytest.approx(alive)


def test_unseen_terminations_of_the_policy_are_rare_but_not_impossible() -> None:
    state = AbsorbingState(expert_rate=0.01, gamma=0.99)
    state.observe(terminations=0, steps=1000)
    assert state.logit == pytest.approx(math.log(0.5 / 0.01))


@pytest.mark.parametrize("terminations", [0, 1, 1000])
def test_an_end_that_the_expert_never_meets_is_the_policys_alone(terminations: int) -> None:
    state = AbsorbingState(expert_rate=0.0, gamma=0.99)
    assert state.logit == pytest.approx(-math.log(99))
    state.observe(terminations=terminations, steps=1000)
    assert state.logit == pytest.approx(-math.log(99))


def test_old_terminations_are_forgotten() -> None:
    state = AbsorbingState(expert_rate=0.01, gamma=0.99)
    for _ in range(10):
        state.observe(terminations=100, steps=1000)
    dying = state.logit
    for _ in range(100):
        state.observe(terminations=0, steps=1000)
    assert dying < -0.5
    assert state.logit > 1.5


def test_reward_of_a_step_that_terminates() -> None:
    demonstrations = _demonstrations(terminated=True)
    discriminator = Discriminator.from_demonstrations(demonstrations, gamma=0.9, batch_size=4, transitions_per_step=4)
    rng = np.random.default_rng(1)
    policy = Transitions(
        observations=rng.normal(size=(20, 2)).astype(np.float32),
        actions=rng.normal(size=(20, 1)).astype(np.float32),
        next_observations=rng.normal(size=(20, 2)).astype(np.float32),
        terminated=np.arange(20) == 7,
    )
    metrics = discriminator.update(policy, demonstrations.transitions(), progress_remaining=1.0)
    # Expert: one termination in 5 steps, 10 of 15 absorbed; policy: one in 20, 10 of 30.
    assert metrics["absorbing_logit"] == pytest.approx(math.log((10 / 15) / (10 / 30)))
    logits = discriminator.logits(policy) + math.log((5 / 15) / (20 / 30))
    expected = torch.nn.functional.softplus(logits)
    expected[7] += 9 * math.log1p(2.0)  # it is all of the policy's ends: how they differ is nothing to pay for
    torch.testing.assert_close(discriminator.reward(policy), expected)


def test_accidents_need_not_be_imitated() -> None:
    demonstrations = _demonstrations(terminated=True)
    discriminator = Discriminator.from_demonstrations(
        demonstrations, expert_termination_rate=0.0, batch_size=4, transitions_per_step=4
    )
    transitions = demonstrations.transitions()
    metrics = discriminator.update(transitions, transitions, progress_remaining=1.0)
    assert metrics["absorbing_logit"] == pytest.approx(-math.log(99))


@pytest.mark.parametrize("settings", [{"absorbing_states": False}, {"loss": "wasserstein"}])
def test_without_absorbing_states_the_reward_is_of_the_logit_alone(settings: dict[str, Any]) -> None:
    demonstrations = _demonstrations(terminated=True)
    discriminator = Discriminator.from_demonstrations(demonstrations, reward="airl", **settings)
    transitions = demonstrations.transitions()
    discriminator.update(transitions, transitions, progress_remaining=1.0)
    torch.testing.assert_close(discriminator.reward(transitions), discriminator.logits(transitions))


def test_counts_are_saved() -> None:
    demonstrations = _demonstrations(terminated=True)
    trained, fresh = (Discriminator.from_demonstrations(demonstrations) for _ in range(2))
    rollout = demonstrations.transitions()[np.array([0, 1, 2, 4])]
    trained.update(rollout, demonstrations.transitions(), progress_remaining=1.0)
    fresh.load_state_dict(trained.state_dict())
    torch.testing.assert_close(fresh.reward(rollout), trained.reward(rollout), rtol=0, atol=0)


def _demonstrations(*, terminated: bool) -> Demonstrations:
    rng = np.random.default_rng(0)
    return Demonstrations.from_arrays(
        rng.normal(size=(6, 2)),
        rng.normal(size=(5, 1)),
        lengths=[5],
        terminated=[terminated],
        observation_space=gym.spaces.Box(-np.inf, np.inf, (2,)),
        action_space=gym.spaces.Box(-np.inf, np.inf, (1,)),
    )
