"""The Gymnasium reward wrapper on its own: what it pays, what it tells, what it refuses."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from scripted import (
    Choosing,
    Keyed,
    Pictured,
    Scripted,
    ScriptedAdversary,
    Truth,
    demonstrations_of,
    linear_reward,
    transitions_of,
)
from stable_baselines3 import DQN, PPO, HerReplayBuffer
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_gail import Demonstrations, Discriminator
from sb3_gail.transitions import map_observations
from sb3_gail.wrappers import GAILRewardWrapper


def steps(env: gym.Env[Any, Any], n: int) -> Iterator[tuple[float, Truth, dict[str, Any]]]:
    """Random steps of an environment that is reset where it must be."""
    env.action_space.seed(0)
    env.reset()
    for _ in range(n):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        truth = info["truth"]
        map_observations(np.testing.assert_array_equal, observation, truth.next_observation)
        assert (terminated, truncated) == (truth.terminated, truth.truncated)
        yield float(reward), truth, info
        if terminated or truncated:
            env.reset()


@pytest.mark.parametrize("kind", [Scripted, Choosing, Keyed, Pictured])
def test_alone_it_pays_the_frozen_learned_reward(kind: type[Scripted]) -> None:
    adversary = ScriptedAdversary()
    adversary.generation = 4
    env = GAILRewardWrapper(kind(ends="both"), adversary)
    for reward, truth, info in steps(env, 20):
        assert reward == pytest.approx(linear_reward(transitions_of([truth]), 4)[0], rel=1e-5, abs=1e-5)
        assert info["env_reward"] == truth.env_reward
        assert "transition" not in info
    assert adversary.generation == 4


@pytest.mark.parametrize("inside", [lambda env: env, Monitor])
def test_episodes_are_reported_with_their_true_return(inside: Any) -> None:
    env = GAILRewardWrapper(inside(Scripted(copy=1, lengths=(3, 2), ends="both")), ScriptedAdversary())
    reported = [info["episode"] for _, _, info in steps(env, 8) if "episode" in info]
    assert [(episode["r"], episode["l"]) for episode in reported] == [(6006, 3), (4023, 2), (6066, 3)]
    assert env.get_episode_rewards() == [6006, 4023, 6066]


def test_unscored_steps_pay_nothing_and_carry_the_transition() -> None:
    adversary = ScriptedAdversary()
    env = GAILRewardWrapper(Scripted(lengths=(3, 2), ends="both"), adversary)
    env.reset()
    env.skip_scoring(6)
    for index, (reward, truth, info) in enumerate(steps(env, 8)):
        expected = linear_reward(transitions_of([truth]), 0)[0]
        if index == 0:  # by-hand resets end unscored steps; ask again
            env.skip_scoring(5)
        if 1 <= index <= 5:
            assert reward == 0.0
            before, action, after, terminated = info["transition"]
            np.testing.assert_array_equal(before, truth.observation)
            np.testing.assert_array_equal(action, truth.action)
            np.testing.assert_array_equal(after, truth.next_observation)
            assert terminated == truth.terminated
            assert info["env_reward"] == truth.env_reward
        else:
            assert reward == pytest.approx(expected, rel=1e-5)
            assert "transition" not in info


class Reusing(Scripted):
    """Writes each observation into the same array, as some simulators do."""

    def __init__(self, copy: int = 0, **settings: Any) -> None:
        super().__init__(copy, **settings)
        self.memory = np.zeros(4)

    def observe(self) -> Any:
        return super().observe()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = super().reset(seed=seed, options=options)
        self.memory[:] = observation
        return self.memory, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, *rest = super().step(action)
        self.memory[:] = observation
        return self.memory, *rest  # type: ignore[return-value]


def test_environments_that_reuse_their_memory() -> None:
    env = GAILRewardWrapper(Reusing(), ScriptedAdversary())
    for reward, truth, _ in steps(env, 9):
        assert reward == pytest.approx(linear_reward(transitions_of([truth]), 0)[0], rel=1e-5)
    env.skip_scoring(3)
    env.reset()
    env.skip_scoring(3)
    infos = [env.step(np.zeros(2))[4] for _ in range(3)]
    np.testing.assert_array_equal(
        [info["transition"][0] for info in infos], [info["truth"].observation for info in infos]
    )


def test_it_refuses_what_does_not_belong_inside() -> None:
    adversary = ScriptedAdversary()
    with pytest.raises(ValueError, match="expected an environment without GAILRewardWrapper, got one that has it"):
        GAILRewardWrapper(gym.wrappers.RecordEpisodeStatistics(GAILRewardWrapper(Scripted(), adversary)), adversary)
    with pytest.raises(ValueError, match=r"NormalizeObservation inside.*use SB3's VecNormalize outside"):
        GAILRewardWrapper(gym.wrappers.NormalizeObservation(Scripted()), adversary)
    with pytest.raises(TypeError, match=r"adversary must be an Adversary .*, got str"):
        GAILRewardWrapper(Scripted(), "gail")  # type: ignore[arg-type]


def cartpole_discriminator() -> Discriminator:
    env = gym.make("CartPole-v1")
    rng = np.random.default_rng(0)
    demonstrations = Demonstrations.from_arrays(
        rng.normal(size=(21, 4)).astype(np.float32),
        rng.integers(0, 2, size=20),
        lengths=[20],
        observation_space=env.observation_space,
        action_space=env.action_space,
    )
    return Discriminator.from_demonstrations(demonstrations, hidden_sizes=(8,))


@pytest.mark.filterwarnings(
    "ignore:.*WARN:UserWarning"
)  # what Gymnasium has to say about CartPole and about any wrapper
def test_both_environment_checkers_pass() -> None:
    env = GAILRewardWrapper(gym.make("CartPole-v1"), cartpole_discriminator())
    gymnasium_check_env(env, skip_render_check=True)
    sb3_check_env(env, skip_render_check=True)


def test_a_wrapped_environment_can_be_made_again_from_its_spec() -> None:
    discriminator = cartpole_discriminator()
    env = GAILRewardWrapper(gym.make("CartPole-v1"), discriminator)
    assert env.spec is not None
    again = gym.make(env.spec)
    assert again.get_wrapper_attr("adversary_identity")() == discriminator.identity
    for made in (env, again):
        made.reset(seed=3)
    np.testing.assert_array_equal(env.step(1)[0], again.step(1)[0])
    assert env.step(0)[1] == again.step(0)[1] != 1.0


def test_an_adversary_that_cannot_be_copied_need_not_be() -> None:
    adversary = ScriptedAdversary()
    adversary.lock = threading.Lock()  # type: ignore[attr-defined]
    env = GAILRewardWrapper(gym.make("CartPole-v1"), adversary)
    env.reset(seed=0)
    assert env.step(0)[1] != 1.0


def test_make_vec_env_puts_it_around_each_copy() -> None:
    discriminator = cartpole_discriminator()
    wrapper: Any = GAILRewardWrapper
    venv = make_vec_env("CartPole-v1", 2, seed=0, wrapper_class=wrapper, wrapper_kwargs={"adversary": discriminator})
    assert venv.env_is_wrapped(GAILRewardWrapper) == [True, True]
    before = venv.reset()
    after, rewards, _, infos = venv.step(np.array([0, 1]))
    assert [info["env_reward"] for info in infos] == [1.0, 1.0]
    for copy in range(2):
        truth = Truth(before[copy], np.array(copy), after[copy], False, False, 1.0)  # type: ignore[index]
        assert rewards[copy] == pytest.approx(discriminator.reward(transitions_of([truth])).item(), rel=1e-5)


def test_sb3_puts_no_second_monitor_around_it_and_evaluates_true_returns() -> None:
    env = GAILRewardWrapper(Scripted(lengths=(3,)), ScriptedAdversary())
    model = PPO("MlpPolicy", env, n_steps=6, batch_size=6)
    inner = model.get_env()
    assert isinstance(inner, DummyVecEnv)
    assert inner.envs[0] is env
    mean_return, _ = evaluate_policy(model, env, n_eval_episodes=1)
    assert mean_return == pytest.approx(3 * 1000 + 6)


def test_it_goes_to_worker_processes() -> None:
    env = GAILRewardWrapper(Scripted(), ScriptedAdversary())
    copied = pickle.loads(cloudpickle.dumps(env))
    assert copied.adversary_identity() == env.adversary_identity()
    copied.load_adversary_state({"generation": 9})
    rewards = [reward for reward, _, _ in steps(copied, 3)]
    expected = [10 * reward for reward, _, _ in steps(env, 3)]
    np.testing.assert_allclose(rewards, expected, rtol=1e-5)


def test_a_discriminator_scores_single_steps_as_it_scores_batches() -> None:
    discriminator = Discriminator.from_demonstrations(demonstrations_of(Scripted()), hidden_sizes=(8,), inputs="sas'")
    env = GAILRewardWrapper(Scripted(ends="both"), discriminator)
    rewards, truths = zip(*[(reward, truth) for reward, truth, _ in steps(env, 12)], strict=True)
    expected = discriminator.reward(transitions_of(truths))
    torch.testing.assert_close(torch.tensor(rewards), expected.cpu(), rtol=1e-5, atol=1e-6)


def test_the_other_kind_of_environment_is_refused() -> None:
    with pytest.raises(TypeError, match="GAILRewardVecWrapper"):
        GAILRewardWrapper(DummyVecEnv([lambda: gym.make("CartPole-v1")]), ScriptedAdversary())  # type: ignore[arg-type]


def test_relabelled_goals_are_not_paid_by_the_environment() -> None:
    env = GAILRewardWrapper(BitFlippingEnv(), ScriptedAdversary())
    model = DQN("MultiInputPolicy", env, replay_buffer_class=HerReplayBuffer, learning_starts=20)
    with pytest.raises(NotImplementedError, match="expected no HerReplayBuffer around a learned reward"):
        model.learn(30)
