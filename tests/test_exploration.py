"""Actions that are sampled in episodes played aside: new noise in each, and training's as it was."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.env_util import make_vec_env

from sb3_gail.evaluation import evaluate
from sb3_gail.exploration import Exploration
from sb3_gail.rollouts import as_vec_env, policy_actor

GSDE: dict[str, Any] = {
    "PPO": lambda: PPO("MlpPolicy", make_vec_env("Pendulum-v1", 3), use_sde=True, n_steps=8, batch_size=8, seed=0),
    "SAC": lambda: SAC("MlpPolicy", "Pendulum-v1", use_sde=True, buffer_size=10, seed=0),
    "RecurrentPPO": lambda: RecurrentPPO("MlpLstmPolicy", "Pendulum-v1", use_sde=True, n_steps=8, batch_size=8, seed=0),
}
ONES = np.ones((2, 3), np.float32)


@pytest.mark.parametrize("name", GSDE)
@pytest.mark.parametrize("of", ["algorithm", "policy"])
def test_each_episode_has_noise_of_its_own(name: str, of: str) -> None:
    model = GSDE[name]()
    agent = model if of == "algorithm" else model.policy
    act = policy_actor(agent, make_vec_env("Pendulum-v1", 2), deterministic=False)
    first, second = act(ONES, np.array([True, True]))
    assert first != second
    if name != "RecurrentPPO":  # whose state moves on
        np.testing.assert_array_equal(act(ONES, np.array([False, False])), [first, second])
        one, other = act(ONES, np.array([True, False]))
        assert (one != first, other == second) == (True, True)


def test_it_is_drawn_as_often_as_in_training() -> None:
    model = PPO("MlpPolicy", "Pendulum-v1", use_sde=True, sde_sample_freq=2, n_steps=8, batch_size=8, seed=0)
    act = policy_actor(model, as_vec_env(gym.make("Pendulum-v1")), deterministic=False)
    actions = [float(act(ONES[:1], np.array([step == 0]))[0, 0]) for step in range(6)]
    assert actions[0::2] == actions[1::2]
    assert len(set(actions)) == 3


@pytest.mark.parametrize("name", GSDE)
def test_episodes_repeat_with_their_seed_and_leave_the_noise_alone(name: str) -> None:
    model = GSDE[name]()
    env = gym.make("Pendulum-v1", max_episode_steps=20)
    noise = getattr(model.policy, "actor", None) or model.policy
    before = noise.action_dist, noise.action_dist.exploration_mat.clone()
    first = evaluate(model, env, n_episodes=2, deterministic=False, seed=1)
    assert noise.action_dist is before[0]
    torch.testing.assert_close(noise.action_dist.exploration_mat, before[1])
    model.policy.reset_noise()
    again = evaluate(model, env, n_episodes=2, deterministic=False, seed=1)
    np.testing.assert_array_equal(first.returns, again.returns)
    assert first.returns[0] != first.returns[1]


def test_random_actions_of_dqn_repeat_and_leave_its_generator_alone() -> None:
    model = DQN("MlpPolicy", "CartPole-v1", buffer_size=10, seed=0)
    model.exploration_rate = 0.5
    state = model.action_space.np_random.bit_generator.state
    first, again = (
        evaluate(model, gym.make("CartPole-v1"), n_episodes=5, deterministic=False, seed=1).returns for _ in range(2)
    )
    np.testing.assert_array_equal(first, again)
    assert model.action_space.np_random.bit_generator.state == state


def fail_while_lent(model: Any) -> None:
    space, noise = model.action_space, model.policy.action_dist
    with Exploration(model).lent(np.array([True])):
        assert model.action_space is not space
        assert model.policy.action_dist is not noise
        raise KeyError


def test_an_error_gives_everything_back() -> None:
    model = GSDE["PPO"]()
    space, noise = model.action_space, model.policy.action_dist
    with pytest.raises(KeyError):
        fail_while_lent(model)
    assert model.action_space is space
    assert model.policy.action_dist is noise
