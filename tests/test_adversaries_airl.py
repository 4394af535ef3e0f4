"""AIRL's formula, and the rewards it recovers where they are known."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from scripted import Choosing, Keyed, Pictured, Recorder, Scripted, demonstrations_of, make_learner, wrapped_copies
from torch import nn

from sb3_gail import Demonstrations, Transitions
from sb3_gail.adversaries import AIRL, AIRLConfig
from sb3_gail.callbacks import GAILCallback
from sb3_gail.losses import gradient_penalty
from sb3_gail.transitions import Array

RNG = np.random.default_rng(0)


def with_log_prob(transitions: Transitions) -> Transitions:
    return replace(transitions, log_prob=RNG.normal(-2.0, 1.0, len(transitions)).astype(np.float32))


def parts_of(airl: AIRL, transitions: Transitions) -> tuple[Array, Array, Array]:
    """`g`, `h(s)` and `h(s')`, each of what the encoder makes of its own input."""
    encoder, network = airl.encoder, airl.network
    airl.network.eval()
    with torch.no_grad():
        before, after = encoder.narrowed("s")(transitions), encoder(transitions)[:, encoder.parts["next_observations"]]
        reward = network.reward(encoder.narrowed(airl.config.inputs)(transitions))
        return reward.numpy(), network.potential(before).numpy(), network.potential(after).numpy()


@pytest.mark.parametrize("kind", [Scripted, Choosing, Keyed, Pictured])
@pytest.mark.parametrize("inputs", ["s", "sa"])
def test_the_logit_is_the_papers(kind: type[Scripted], inputs: str) -> None:
    demonstrations = demonstrations_of(kind())
    airl = AIRL.from_demonstrations(demonstrations, inputs=inputs, gamma=0.9, device="cpu")
    transitions = with_log_prob(demonstrations.transitions())
    terminated = np.asarray(transitions.terminated)
    assert 0 < terminated.sum() < len(terminated)
    g, before, after = parts_of(airl, transitions)
    assert transitions.log_prob is not None
    f = g + np.where(terminated, 0.0, 0.9 * after) - before
    np.testing.assert_allclose(airl.logits(transitions), f - transitions.log_prob, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(airl.reward(transitions), f - transitions.log_prob, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(airl.reward(replace(transitions, log_prob=None)), f, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(airl.reward_only().reward(transitions), g, rtol=1e-4, atol=1e-5)


def test_the_reward_alone_sees_nothing_but_the_state() -> None:
    demonstrations = demonstrations_of(Scripted())
    reward = AIRL.from_demonstrations(demonstrations, device="cpu").reward_only()
    transitions = demonstrations.transitions()
    n = len(transitions)
    others = Transitions(
        transitions.observations, RNG.normal(size=(n, 2)), RNG.normal(size=(n, 4)), np.ones(n, dtype=bool)
    )
    np.testing.assert_array_equal(reward.reward(transitions), reward.reward(others))


def test_the_reward_alone_is_a_copy_that_no_longer_learns(tmp_path: Path) -> None:
    demonstrations = demonstrations_of(Scripted())
    settings: dict[str, Any] = {"batch_size": 4, "transitions_per_step": 1, "learning_rate": 0.1, "device": "cpu"}
    airl = AIRL.from_demonstrations(demonstrations, **settings)
    transitions = with_log_prob(demonstrations.transitions())
    reward = airl.reward_only()
    reward.check_spaces(demonstrations.observation_space, demonstrations.action_space)
    with pytest.raises(ValueError, match="expected an environment whose observations are like"):
        reward.check_spaces(demonstrations.action_space, demonstrations.action_space)
    before = reward.reward(transitions)
    airl.update(transitions, transitions, progress_remaining=1.0)
    assert reward.update(transitions, transitions, progress_remaining=1.0) == {}
    np.testing.assert_array_equal(reward.reward(transitions), before)
    assert not np.allclose(airl.reward_only().reward(transitions), before)
    reward.save(tmp_path / "reward.pt")
    loaded = AIRL.from_demonstrations(demonstrations_of(Scripted(3)), **settings).reward_only()
    loaded.load(tmp_path / "reward.pt")
    for copy in (loaded, pickle.loads(pickle.dumps(reward))):
        np.testing.assert_array_equal(copy.reward(transitions), before)


class Chain:
    """A deterministic problem with two actions, in which an expert of maximum entropy is known.

    Args:
        rewards: Of each state.
        following: `[S, 2]` the state that each action leads to; -1 ends the episode.
    """

    gamma = 0.8

    def __init__(self, rewards: Array, following: Array) -> None:
        self.rewards, self.following = rewards, following
        values = np.zeros(len(rewards))
        for _ in range(500):
            actions = rewards[:, None] + self.gamma * np.where(following < 0, 0.0, values[following])
            values = np.log(np.exp(actions).sum(axis=1))
        self.advantages = actions - values[:, None]  # of maximum entropy: the logarithm of the expert's policy
        self.values = values

    def transitions(self, counts: Array) -> Transitions:
        """So many of each state and action, `[S, 2]`, with the likelihoods of a policy that takes either action."""
        states, actions = (index.ravel().repeat(counts.ravel()) for index in np.indices(counts.shape))
        following = self.following[states, actions]
        return Transitions(
            states, actions, np.where(following < 0, 0, following), following < 0, np.log(np.full(len(states), 0.5))
        )

    def recover(self, inputs: str) -> AIRL:
        """What AIRL makes of the expert and that policy, both everywhere equally often, at the loss's optimum."""
        n_each = 1000
        chosen = np.round(n_each * np.exp(self.advantages)).astype(int)
        expert, policy = self.transitions(chosen), self.transitions(np.full_like(chosen, n_each // 2))
        assert len(expert) == len(policy)
        demonstrations = Demonstrations.from_arrays(
            np.array([0, 1]),
            np.array([0]),
            lengths=[1],
            observation_space=spaces.Discrete(len(chosen)),
            action_space=spaces.Discrete(2),
        )
        torch.manual_seed(0)
        airl = AIRL.from_demonstrations(
            demonstrations,
            inputs=inputs,
            gamma=self.gamma,
            network=lambda encoder: nn.Sequential(nn.Linear(encoder.size, 1, bias=False), nn.Flatten(0)),
            learning_rate=lambda progress_remaining: 0.1 * progress_remaining,
            gradient_penalty=0.0,
            batch_size=len(policy),  # so that each minibatch is the whole, and its loss the true one
            transitions_per_step=10,
            device="cpu",
        )
        for progress_remaining in (1.0, 0.1, 0.01):
            airl.update(policy, expert, progress_remaining=progress_remaining)
        return airl


RING = Chain(np.array([0.5, -1.0, 0.0, 1.0]), np.array([[1, 2], [2, 3], [3, 0], [0, 1]]))
ENDING = Chain(np.array([0.5, -1.0, 0.0, 1.0]), np.array([[1, 2], [2, 3], [3, 0], [0, -1]]))
TOLERANCE = 0.03  # the expert's 1000 actions in each state are whole numbers


def test_it_recovers_the_advantages() -> None:
    every = RING.transitions(np.ones((4, 2), int))
    f = RING.recover("sa").reward(replace(every, log_prob=None))
    np.testing.assert_allclose(f, RING.advantages.ravel(), atol=TOLERANCE)


def test_it_recovers_a_state_only_reward_up_to_a_constant() -> None:
    every = RING.transitions(np.ones((4, 2), int))
    g = RING.recover("s").reward_only().reward(every).numpy()[::2]
    np.testing.assert_allclose(g - g.mean(), RING.rewards - RING.rewards.mean(), atol=TOLERANCE)


def test_where_an_episode_can_end_the_constant_is_known() -> None:
    every = ENDING.transitions(np.ones((4, 2), int))
    assert np.asarray(every.terminated).tolist() == [False] * 7 + [True]
    airl = ENDING.recover("s")
    np.testing.assert_allclose(airl.reward_only().reward(every)[::2], ENDING.rewards, atol=TOLERANCE)
    _, before, _ = parts_of(airl, every)
    np.testing.assert_allclose(before[::2], ENDING.values, atol=TOLERANCE)


def test_the_gradient_penalty_is_that_of_f() -> None:
    demonstrations = demonstrations_of(Scripted())
    airl = AIRL.from_demonstrations(demonstrations, inputs="sa", gamma=0.9, device="cpu")
    rows = airl._encode(with_log_prob(demonstrations.transitions()))
    penalty = airl._gradient_penalty(rows)
    network = airl.network

    def f(encoded: torch.Tensor) -> torch.Tensor:
        g, before = network.reward(encoded[:, :6]), network.potential(encoded[:, :4])
        shaped: torch.Tensor = g + 0.9 * rows[:, -2] * network.potential(encoded[:, 6:]) - before
        return shaped

    torch.testing.assert_close(penalty, gradient_penalty(f, rows[:, :-2], target=airl.config.gradient_norm))
    others = rows.clone()
    others[:, -1] -= 3.0  # other likelihoods
    torch.testing.assert_close(airl._gradient_penalty(others), penalty)
    penalty.backward()  # type: ignore[no-untyped-call]
    assert all(weight.grad is not None for weight in network.parameters() if weight.dim() > 1)


def test_saved_and_loaded_it_goes_on_alike(tmp_path: Path) -> None:
    demonstrations = demonstrations_of(Scripted())
    settings: dict[str, Any] = {"batch_size": 8, "transitions_per_step": 5, "device": "cpu"}
    airl, other = (AIRL.from_demonstrations(demonstrations, **settings) for _ in range(2))
    transitions = with_log_prob(demonstrations.transitions())
    airl.update(transitions, transitions, progress_remaining=1.0)
    airl.update(transitions[:3], transitions, progress_remaining=1.0)  # too few: they wait, and their likelihoods too
    airl.use_discount(0.5)
    airl.save(tmp_path / "airl.pt")
    other.load(tmp_path / "airl.pt")
    np.testing.assert_array_equal(airl.reward(transitions), other.reward(transitions))
    metrics = []
    for each in (airl, other):
        torch.manual_seed(1)
        metrics.append(each.update(transitions, transitions, progress_remaining=1.0)["loss"])
    assert metrics[0] == metrics[1]
    np.testing.assert_array_equal(airl.reward(transitions), other.reward(transitions))


def test_without_likelihoods_it_does_not_learn() -> None:
    demonstrations = demonstrations_of(Scripted())
    airl = AIRL.from_demonstrations(demonstrations)
    bare, filled = demonstrations.transitions(), with_log_prob(demonstrations.transitions())
    with pytest.raises(ValueError, match="log_prob of the expert's transitions, got none"):
        airl.update(filled, bare, progress_remaining=1.0)
    with pytest.raises(ValueError, match="log_prob of the policy's transitions, got none"):
        airl.update(bare, filled, progress_remaining=1.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inputs": "ss'"}, "inputs must be one of 's', 'sa' for AIRL, got \"ss'\""),
        ({"gamma": 1.5}, r"gamma must lie in \[0, 1\), got 1.5"),
        ({"batch_size": 0}, "batch_size must be a positive whole number"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AIRLConfig(**settings)


@pytest.mark.parametrize("kind", [Scripted, Choosing])
@pytest.mark.parametrize("learner", ["TRPO", "A2C"])
def test_trains_a_policy(learner: str, kind: type[Scripted]) -> None:
    demonstrations = demonstrations_of(kind())
    airl, recorder = AIRL.from_demonstrations(demonstrations, batch_size=8, transitions_per_step=4), Recorder()
    before = airl.reward_only().reward(demonstrations.transitions())
    with wrapped_copies(airl, kind=kind) as venv:
        model = make_learner(learner, venv)
        gail = GAILCallback(airl, demonstrations, replay_rollouts=1)
        model.learn(36, callback=[gail, recorder])
        fresh = airl.reward_only()
    assert len(recorder.rollouts) == 3
    assert np.isfinite([rollout.rewards for rollout in recorder.rollouts]).all()
    assert not torch.allclose(fresh.reward(demonstrations.transitions()), before)


def test_a_fresh_agent_trains_on_the_reward_alone() -> None:
    demonstrations = demonstrations_of(Scripted())
    reward, recorder = AIRL.from_demonstrations(demonstrations).reward_only(), Recorder()
    with wrapped_copies(reward, wrapper="vec") as venv:
        make_learner("PPO", venv).learn(12, callback=recorder)
    states = np.stack([truth.observation for step in recorder.rollouts[0].truths for truth in step])
    paid = np.concatenate(recorder.paid)
    batch = Transitions(states, np.zeros((len(states), 2), np.float32), states, np.zeros(len(states), bool))
    np.testing.assert_allclose(paid, reward.reward(batch).cpu(), rtol=1e-5, atol=1e-6)
