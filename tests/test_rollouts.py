"""Episodes on a scripted environment, whose every value is known."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecFrameStack, VecNormalize

from sb3_gail.rollouts import as_vec_env, episodes, isolated_randomness, policy_actor, random_actor


class Counter(gym.Env[Any, Any]):
    """Observes `[first, t]`, with a random `first`; pays t + 10 x action and ends after `length` steps."""

    def __init__(self, length: int, *, ends: str = "terminated", env_reward: bool = False) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = spaces.Discrete(3)
        self.length, self.ends, self.env_reward = length, ends, env_reward

    def _observe(self) -> Any:
        return np.array([self.first, self.t], np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.t, self.first = 0, self.np_random.uniform()
        return self._observe(), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        reward = float(self.t + 10 * int(action))
        done = self.t == self.length
        info = {"env_reward": reward} if self.env_reward else {}
        shown = -1.0 if self.env_reward else reward
        return self._observe(), shown, done and self.ends == "terminated", done and self.ends == "truncated", info


class Masked(Counter):
    """Allows action t % 3 alone, or what the mask says."""

    mask: Any = None

    def action_masks(self) -> Any:
        return np.arange(3) == self.t % 3 if self.mask is None else self.mask


class Keyed(Counter):
    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.observation_space = spaces.Dict({"one": self.observation_space, "two": spaces.Discrete(100)})

    def _observe(self) -> Any:
        return {"one": super()._observe(), "two": self.t}


NOTHING = np.zeros(0)


def counters(*lengths: int, **settings: Any) -> DummyVecEnv:
    return DummyVecEnv([partial(Counter, length, **settings) for length in lengths])


def normalised(venv: VecEnv, mean: list[float], var: list[float] | None = None) -> Any:
    wrapped: Any = VecNormalize(venv)
    wrapped.obs_rms.mean, wrapped.obs_rms.var = np.array(mean), np.array(var or [1.0, 1.0])
    return wrapped


def play(act: Any, venv: VecEnv, n_episodes: int, **settings: Any) -> list[Any]:
    return list(episodes(act, venv, n_episodes, **settings))


def zeros(observations: Any, starts: Any) -> Any:
    return np.zeros(len(starts), dtype=np.int64)


class Scripted:
    """Stands for an SB3 model: acts by the policy's observation `[_, t]` and keeps what it was asked."""

    def __init__(self, venv: VecEnv, training_env: VecEnv | None = None) -> None:
        self.action_space, self.training_env = venv.action_space, training_env
        self.asked: list[tuple[Any, Any, Any]] = []

    def get_env(self) -> VecEnv | None:
        return self.training_env

    def predict(self, observation: Any, *, state: Any, episode_start: Any, deterministic: bool) -> Any:
        self.asked.append((observation, state, np.array(episode_start)))
        return np.full(len(observation), 2), (0 if state is None else state) + 1


@pytest.mark.parametrize("ends", ["terminated", "truncated"])
def test_an_episode_holds_what_happened(ends: str) -> None:
    (episode,) = play(zeros, counters(3, ends=ends), 1, seed=5)
    first = np.random.Generator(np.random.PCG64(np.random.SeedSequence(5))).uniform()
    np.testing.assert_array_equal(episode.observations, np.array([[first, t] for t in range(4)], np.float32))
    np.testing.assert_array_equal(episode.actions, [0, 0, 0])
    np.testing.assert_array_equal(episode.rewards, [1.0, 2.0, 3.0])
    assert (episode.terminated, episode.truncated) == (ends == "terminated", ends == "truncated")
    assert len(episode) == 3
    assert episode.observations.dtype == np.float32


def test_each_copy_plays_its_share_and_the_order_does_not_depend_on_lengths() -> None:
    played = play(zeros, counters(50, 2), 5, seed=0)
    assert [len(episode) for episode in played] == [50, 2, 50, 2, 2]


def test_fewer_episodes_than_copies() -> None:
    assert len(list(episodes(zeros, counters(4, 4, 4), 1))) == 1


def test_the_env_reward_of_a_reward_wrapper_is_the_true_one() -> None:
    (episode,) = play(zeros, counters(3, env_reward=True), 1)
    np.testing.assert_array_equal(episode.rewards, [1.0, 2.0, 3.0])


def test_dict_observations() -> None:
    (episode,) = play(zeros, as_vec_env(Keyed(3)), 1)
    np.testing.assert_array_equal(episode.observations["two"], [0, 1, 2, 3])
    np.testing.assert_array_equal(episode.observations["one"][:, 1], [0, 1, 2, 3])
    assert episode.observations["two"].shape == (4,)


def test_seeds_repeat_episodes_and_none_does_not() -> None:
    venv = counters(3, 4)

    def firsts(seed: int | None) -> list[float]:
        return [float(episode.observations[0, 0]) for episode in play(zeros, venv, 4, seed=seed)]

    assert firsts(3) == firsts(3)
    assert len(set(firsts(3))) == 4
    assert firsts(3) != firsts(4)
    assert firsts(None) != firsts(None)


def test_worker_processes_play_the_same_episodes() -> None:
    workers = SubprocVecEnv([lambda: Counter(3), lambda: Counter(5)], start_method="fork")
    try:
        theirs = play(random_actor(workers, seed=1), workers, 4, seed=1)
    finally:
        workers.close()
    here = counters(3, 5)
    ours = play(random_actor(here, seed=1), here, 4, seed=1)
    for one, other in zip(theirs, ours, strict=True):
        np.testing.assert_array_equal(one.observations, other.observations)
        np.testing.assert_array_equal(one.rewards, other.rewards)


def test_observations_are_raw_and_statistics_do_not_move() -> None:
    venv = normalised(counters(3), [0.0, 1.0], [1.0, 4.0])
    before = (venv.obs_rms.mean.copy(), venv.obs_rms.var.copy(), venv.obs_rms.count, venv.ret_rms.count)
    model = Scripted(venv)
    (episode,) = play(policy_actor(model, venv, deterministic=True), venv, 1)
    np.testing.assert_array_equal(episode.observations[:, 1], [0, 1, 2, 3])
    np.testing.assert_array_equal(episode.rewards, [21.0, 22.0, 23.0])
    seen = np.concatenate([observation for observation, _, _ in model.asked])
    np.testing.assert_allclose(seen[:, 1], (np.array([0, 1, 2]) - 1) / np.sqrt(4.0 + venv.epsilon), rtol=1e-6)
    after = (venv.obs_rms.mean, venv.obs_rms.var, venv.obs_rms.count, venv.ret_rms.count)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_plain_env_is_seen_through_the_statistics_of_the_models_own() -> None:
    training = normalised(counters(3), [0.0, 2.0])
    plain = counters(3)
    model = Scripted(plain, training)
    play(policy_actor(model, plain, deterministic=True), plain, 1)
    assert model.asked[0][0][0, 1] == pytest.approx(-2.0)


def test_the_statistics_around_the_given_env_come_first() -> None:
    training, given = normalised(counters(3), [0.0, 2.0]), normalised(counters(3), [0.0, 3.0])
    model = Scripted(given, training)
    play(policy_actor(model, given, deterministic=True), given, 1)
    assert model.asked[0][0][0, 1] == pytest.approx(-3.0)


def test_a_recurrent_policy_gets_its_state_and_episode_starts() -> None:
    venv = counters(2, 3)
    model = Scripted(venv)
    play(policy_actor(model, venv, deterministic=True), venv, 3)
    assert [state for _, state, _ in model.asked] == [None, *range(1, len(model.asked))]
    starts = np.array([start for _, _, start in model.asked])
    np.testing.assert_array_equal(starts[:, 0], [1, 0, 1, 0, 1, 0][: len(starts)])
    np.testing.assert_array_equal(starts[:, 1], [1, 0, 0, 1, 0, 0][: len(starts)])


def test_a_maskable_policy_gets_its_masks() -> None:
    maskable = pytest.importorskip("sb3_contrib").MaskablePPO
    venv = DummyVecEnv([lambda: Masked(7)])
    model = maskable("MlpPolicy", venv, n_steps=8, batch_size=8)
    (episode,) = play(policy_actor(model, venv, deterministic=False), venv, 1)
    np.testing.assert_array_equal(episode.actions, np.arange(7) % 3)


@pytest.mark.skipif(not hasattr(VecEnv, "has_attr"), reason="this SB3 cannot tell whether there are masks")
def test_random_actions_are_valid_where_there_are_masks() -> None:
    venv = DummyVecEnv([lambda: Masked(7)])
    (episode,) = play(random_actor(venv, seed=0), venv, 1)
    np.testing.assert_array_equal(episode.actions, np.arange(7) % 3)


@pytest.mark.skipif(not hasattr(VecEnv, "has_attr"), reason="this SB3 cannot tell whether there are masks")
@pytest.mark.parametrize(
    ("space", "mask", "allowed"),
    [
        (spaces.MultiDiscrete([2, 3]), [0, 1, 1, 0, 1], {(1, 0), (1, 2)}),
        (spaces.MultiBinary(2), [0, 1, 1, 1], {(1, 0), (1, 1)}),
    ],
)
def test_masks_of_actions_with_several_parts(space: Any, mask: list[int], allowed: set[tuple[int, int]]) -> None:
    env = Masked(40)
    env.action_space = space
    env.mask = np.array(mask, dtype=bool)
    actions = [random_actor(as_vec_env(env), seed=seed)(NOTHING, np.ones(1)) for seed in range(20)]
    assert {tuple(int(part) for part in action[0]) for action in actions} == allowed
    assert all(space.contains(action[0]) for action in actions)


def test_random_actions_repeat_with_the_seed_and_are_not_the_envs_own_numbers() -> None:
    env: Any = Counter(5)
    env.action_space = spaces.Box(0.0, 1.0, (1,), np.float64)
    act = random_actor(as_vec_env(env), seed=9)
    drawn = [float(act(NOTHING, np.ones(1))[0, 0]) for _ in range(3)]
    again = random_actor(as_vec_env(env), seed=9)
    assert drawn == [float(again(NOTHING, np.ones(1))[0, 0]) for _ in range(3)]
    env.reset(seed=9)
    assert env.first not in drawn
    assert len(set(drawn)) == 3


def test_random_actions_do_not_move_the_envs_own_action_space() -> None:
    env = Counter(5)
    env.action_space.seed(0)
    expected = spaces.Discrete(3, seed=0).sample()
    random_actor(as_vec_env(env), seed=1)(NOTHING, np.ones(1))
    assert env.action_space.sample() == expected


def test_a_policy_that_samples_repeats_with_the_seed() -> None:
    model = PPO("MlpPolicy", counters(3), n_steps=8, batch_size=8)

    def actions(agent: Any, seed: int | None) -> list[int]:
        venv = counters(6, 6)
        with isolated_randomness(seed):
            played = play(policy_actor(agent, venv, deterministic=False), venv, 4, seed=seed)
        return [int(action) for episode in played for action in episode.actions]

    assert actions(model, 1) == actions(model, 1) == actions(model.policy, 1)
    assert actions(model, 1) != actions(model, 2)
    assert actions(model, None) != actions(model, None)


def seed_all(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)


def draw() -> tuple[float, float, float]:
    return float(torch.rand(())), float(np.random.rand()), random.random()  # noqa: NPY002


def fail_after(draws: list[Any]) -> None:
    with isolated_randomness(1):
        draws.append(draw())
        raise KeyError


def test_isolated_randomness_repeats_inside_and_leaves_no_trace() -> None:
    seed_all(0)
    expected = [draw(), draw()]
    seed_all(0)
    outside, inside = [draw()], []
    with isolated_randomness(1):
        inside.append(draw())
    with pytest.raises(KeyError):
        fail_after(inside)
    assert [*outside, draw()] == expected
    assert inside[0] == inside[1]


def test_actions_are_the_executed_ones() -> None:
    env = gym.make("Pendulum-v1")
    model: Any = PPO("MlpPolicy", env, n_steps=8, batch_size=8, seed=0)
    with torch.no_grad():
        model.policy.action_net.bias.fill_(100.0)
    venv = as_vec_env(env)
    (episode,) = play(policy_actor(model, venv, deterministic=True), venv, 1, seed=0)
    assert np.all(episode.actions == 2.0)
    assert (len(episode), episode.terminated, episode.truncated) == (200, False, True)


def test_an_episode_that_never_ends_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sb3_gail.rollouts.LONGEST_EPISODE", 5)
    assert [len(episode.rewards) for episode in play(zeros, counters(5), 2)] == [5, 5]
    with pytest.raises(ValueError, match=r"not ended after 5 steps: give the environment a time limit"):
        play(zeros, counters(3, 6), 4)


def test_errors() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        episodes(zeros, counters(3), 0)
    with pytest.raises(TypeError, match="Gymnasium environment or an SB3 VecEnv, got str"):
        as_vec_env("CartPole-v1")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"expected an integer, got 2\.0"):
        episodes(zeros, counters(3), 2.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"which has no predict\(\)"):
        policy_actor("ppo.zip", counters(3), deterministic=True)
    model = PPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8)
    with pytest.raises(ValueError, match="made for actions Discrete"):
        policy_actor(model, as_vec_env(gym.make("Pendulum-v1")), deterministic=True)
    stacked = VecFrameStack(DummyVecEnv([lambda: gym.make("CartPole-v1")]), 2)
    with pytest.raises(ValueError, match="made for observations Box"):
        policy_actor(model, stacked, deterministic=True)
