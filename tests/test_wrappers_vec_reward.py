"""The vectorised reward wrapper on its own: what it pays, what it tells, what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from scripted import (
    Choosing,
    Keyed,
    Pictured,
    Scripted,
    ScriptedAdversary,
    Truth,
    linear_reward,
    transitions_of,
    wrapped_copies,
)
from stable_baselines3 import DQN, HerReplayBuffer
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor, VecNormalize, VecTransposeImage
from torch import Tensor

from sb3_gail.transitions import Array, Transitions, map_observations
from sb3_gail.wrappers import GAILRewardVecWrapper, GAILRewardWrapper


def copies(
    n_envs: int = 2, *, kind: type[Scripted] = Scripted, monitored: bool = False, **settings: Any
) -> DummyVecEnv:
    def make(copy: int) -> gym.Env[Any, Any]:
        env = kind(copy, **settings)
        return Monitor(env) if monitored else env

    return DummyVecEnv([lambda copy=copy: make(copy) for copy in range(n_envs)])  # type: ignore[misc]


def steps(venv: VecEnv, n: int) -> Iterator[tuple[Array, list[Truth], list[dict[str, Any]]]]:
    """Random steps after a reset."""
    venv.action_space.seed(0)
    venv.reset()
    for _ in range(n):
        _, rewards, _, infos = venv.step(np.stack([venv.action_space.sample() for _ in range(venv.num_envs)]))
        yield rewards, [info["truth"] for info in infos], list(infos)


@pytest.mark.parametrize("kind", [Scripted, Choosing, Keyed, Pictured])
@pytest.mark.parametrize("n_envs", [1, 3])
def test_alone_it_pays_the_frozen_learned_reward(kind: type[Scripted], n_envs: int) -> None:
    adversary = ScriptedAdversary()
    adversary.generation = 4
    venv = GAILRewardVecWrapper(copies(n_envs, kind=kind, lengths=(3, 2), ends="both"), adversary)
    for rewards, truths, infos in steps(venv, 12):
        assert rewards.dtype == np.float32
        np.testing.assert_allclose(rewards, linear_reward(transitions_of(truths), 4), rtol=1e-5, atol=1e-4)
        assert [info["env_reward"] for info in infos] == [truth.env_reward for truth in truths]


@pytest.mark.parametrize("inside", ["nothing", "Monitor", "VecMonitor", "both"])
@pytest.mark.parametrize("unscored", [False, True])
def test_episodes_are_reported_with_their_true_return(inside: str, unscored: bool) -> None:
    inner: VecEnv = copies(monitored=inside in ("Monitor", "both"), lengths=(3, 2), ends="both")
    if inside == "VecMonitor":
        inner = VecMonitor(inner)
    if inside == "both":
        with pytest.warns(UserWarning, match="already wrapped with a `Monitor`"):
            inner = VecMonitor(inner)
    venv = GAILRewardVecWrapper(inner, ScriptedAdversary())
    reported = []
    for index, (_, _, infos) in enumerate(steps(venv, 8)):
        if index == 0 and unscored:
            venv.skip_scoring(100)
        reported.append([(info["episode"]["r"], info["episode"]["l"]) if "episode" in info else None for info in infos])
    assert [rows for rows in reported if any(rows)] == [
        [(3006, 3), (6006, 3)],
        [(2023, 2), (4023, 2)],
        [(3066, 3), (6066, 3)],
    ]


@pytest.mark.parametrize("kind", [Scripted, Choosing, Keyed, Pictured])
def test_unscored_steps_pay_nothing_and_are_kept_step_by_step(kind: type[Scripted]) -> None:
    adversary = ScriptedAdversary()
    venv = GAILRewardVecWrapper(copies(2, kind=kind, lengths=(3, 2), ends="both"), adversary)
    kept: list[Truth] = []
    for index, (rewards, truths, infos) in enumerate(steps(venv, 10)):
        if index == 1:
            venv.skip_scoring(6)
        if 2 <= index < 8:
            assert not rewards.any()
            assert rewards.dtype == np.float32
            assert [info["env_reward"] for info in infos] == [truth.env_reward for truth in truths]
            kept += truths
        else:
            np.testing.assert_allclose(rewards, linear_reward(transitions_of(truths), 0), rtol=1e-5, atol=1e-4)
    collected, expected = venv.collected(), transitions_of(kept)

    def same(rows: Any, truth: Any) -> None:
        assert rows.dtype != np.float64
        np.testing.assert_array_equal(rows, np.asarray(truth).astype(rows.dtype))

    map_observations(same, collected.observations, expected.observations)
    map_observations(same, collected.next_observations, expected.next_observations)
    same(collected.actions, expected.actions)
    np.testing.assert_array_equal(collected.terminated, expected.terminated)
    assert 0 < np.sum(expected.terminated) < sum(truth.truncated or truth.terminated for truth in kept)


def test_asking_again_begins_a_new_rollout() -> None:
    venv = GAILRewardVecWrapper(copies(), ScriptedAdversary())
    rollouts = []
    truths: list[list[Truth]] = []
    for index, (_, step_truths, _) in enumerate(steps(venv, 9)):
        truths.append(step_truths)
        if index in (2, 5, 8):
            if index > 2:
                rollouts.append(venv.collected())
            venv.skip_scoring(3)
    for rollout, begin in zip(rollouts, (3, 6), strict=True):
        expected = transitions_of([truth for step in truths[begin : begin + 3] for truth in step])
        np.testing.assert_array_equal(rollout.observations, np.asarray(expected.observations, np.float32))
        np.testing.assert_array_equal(rollout.next_observations, np.asarray(expected.next_observations, np.float32))


def test_a_reset_ends_the_unscored_steps() -> None:
    venv = GAILRewardVecWrapper(copies(), ScriptedAdversary())
    venv.skip_scoring(100)
    for rewards, truths, _ in steps(venv, 2):
        np.testing.assert_allclose(rewards, linear_reward(transitions_of(truths), 0), rtol=1e-5)


def test_what_a_caller_does_to_its_arrays_does_not_matter() -> None:
    venv = GAILRewardVecWrapper(copies(lengths=(100,)), ScriptedAdversary())
    observations = np.asarray(venv.reset())
    venv.skip_scoring(3)
    truths: list[Truth] = []
    actions = np.zeros((2, 2), np.float32)
    for step in range(3):
        observations[:] = np.nan
        actions[:] = 0.1 * step
        venv.step_async(actions)
        observations, _, _, infos = venv.step_wait()  # type: ignore[assignment]
        actions[:] = np.nan
        truths += [info["truth"] for info in infos]
    observations[:] = np.nan
    collected, expected = venv.collected(), transitions_of(truths)
    np.testing.assert_array_equal(collected.observations, np.asarray(expected.observations, np.float32))
    np.testing.assert_array_equal(collected.next_observations, np.asarray(expected.next_observations, np.float32))
    np.testing.assert_array_equal(collected.actions, expected.actions)


class Differentiable(ScriptedAdversary):
    """Pays rewards that know where they came from."""

    def reward(self, transitions: Transitions) -> Tensor:
        return super().reward(transitions).requires_grad_()


def test_a_reward_with_a_gradient_is_paid_as_any_other() -> None:
    paid = []
    for adversary in (ScriptedAdversary(), Differentiable()):
        with wrapped_copies(adversary, wrapper="vec") as venv:
            venv.reset()
            paid.append(venv.step(np.zeros((2, 2), np.float32))[1])
    np.testing.assert_array_equal(paid[0], paid[1])


def test_worker_processes_are_scored_here() -> None:
    adversary = ScriptedAdversary()
    with wrapped_copies(adversary, wrapper="vec", backend="subproc", ends="both") as venv:
        for generation, (rewards, truths, _) in enumerate(steps(venv, 8)):
            np.testing.assert_allclose(rewards, linear_reward(transitions_of(truths), generation), rtol=1e-5, atol=1e-5)
            adversary.generation += 1


def test_it_refuses_what_does_not_belong_inside() -> None:
    adversary = ScriptedAdversary()
    with pytest.raises(TypeError, match=r"adversary must be an Adversary .*, got NoneType"):
        GAILRewardVecWrapper(copies(), None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"expected environments without GAILRewardVecWrapper, got some that have it"):
        GAILRewardVecWrapper(GAILRewardVecWrapper(copies(), adversary), adversary)
    with pytest.raises(ValueError, match=r"without GAILRewardVecWrapper"):
        GAILRewardVecWrapper(VecMonitor(GAILRewardVecWrapper(copies(), adversary)), adversary)
    with pytest.raises(ValueError, match=r"got VecNormalize inside the reward wrapper, .* put it outside"):
        GAILRewardVecWrapper(VecNormalize(copies()), adversary)
    with pytest.raises(ValueError, match=r"got VecTransposeImage inside the reward wrapper; leave it to SB3"):
        GAILRewardVecWrapper(VecTransposeImage(copies(kind=Pictured)), adversary)
    with pytest.raises(ValueError, match=r"without GAILRewardWrapper, got some that have it; use one of the two"):
        GAILRewardVecWrapper(DummyVecEnv([lambda: GAILRewardWrapper(Scripted(), adversary)]), adversary)
    with pytest.raises(ValueError, match=r"got environments with NormalizeObservation inside"):
        GAILRewardVecWrapper(DummyVecEnv([lambda: gym.wrappers.NormalizeObservation(Scripted())]), adversary)


def test_the_other_kind_of_environment_is_refused() -> None:
    with pytest.raises(TypeError, match="GAILRewardWrapper"):
        GAILRewardVecWrapper(gym.make("CartPole-v1"), ScriptedAdversary())  # type: ignore[arg-type]


def test_relabelled_goals_are_not_paid_by_the_environment() -> None:
    env = GAILRewardVecWrapper(DummyVecEnv([BitFlippingEnv]), ScriptedAdversary())
    model = DQN("MultiInputPolicy", env, replay_buffer_class=HerReplayBuffer, learning_starts=20)
    with pytest.raises(NotImplementedError, match="expected no HerReplayBuffer around a learned reward"):
        model.learn(30)
