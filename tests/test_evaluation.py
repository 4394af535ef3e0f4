"""Returns and scores in closed form, on environments that are written for it."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

from sb3_gail.evaluation import Evaluation, evaluate, random_evaluation, score


class Walk(gym.Env[Any, Any]):
    """Observes the number of steps; action 1 pays 1, action 0 nothing; ends after `length` steps."""

    def __init__(self, length: int = 10, *, hidden: bool = False) -> None:
        self.observation_space = spaces.Box(0.0, 1000.0, (1,), np.float32)
        self.action_space = spaces.Discrete(2)
        self.length, self.hidden, self.t = length, hidden, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        reward = float(action)
        info = {"env_reward": reward} if self.hidden else {}
        observation = np.full(1, self.t, np.float32)
        return observation, -7.0 if self.hidden else reward, False, self.t == self.length, info


def biased(env: Any, towards: int) -> Any:
    """A policy that takes one action whatever it sees."""
    model: Any = PPO("MlpPolicy", env, n_steps=8, batch_size=8, seed=0)
    with torch.no_grad():
        model.policy.action_net.weight.zero_()
        model.policy.action_net.bias.copy_(torch.tensor([-50.0, 50.0]) * (1 if towards else -1))
    return model


def from_five_steps_on(env: Any) -> Any:
    """A policy that takes action 1 where it sees more than 4.5."""
    model: Any = PPO("MlpPolicy", env, n_steps=8, batch_size=8, policy_kwargs={"net_arch": []})
    with torch.no_grad():
        model.policy.action_net.weight.copy_(torch.tensor([[0.0], [10.0]]))
        model.policy.action_net.bias.copy_(torch.tensor([0.0, -45.0]))
    return model


@pytest.mark.parametrize("env", [Walk(), Monitor(Walk()), Walk(hidden=True), VecMonitor(DummyVecEnv([Walk, Walk]))])
@pytest.mark.parametrize("action", [0, 1])
def test_true_returns(env: Any, action: int) -> None:
    result = evaluate(biased(Walk(), action), env, n_episodes=3)
    np.testing.assert_array_equal(result.returns, [10.0 * action] * 3)
    np.testing.assert_array_equal(result.lengths, [10] * 3)


def test_short_episodes_are_not_preferred() -> None:
    lengths = [2, 100]
    venv = DummyVecEnv([partial(Walk, length) for length in lengths])
    result = evaluate(biased(venv, 1), venv, n_episodes=6)
    np.testing.assert_array_equal(result.returns, lengths * 3)
    assert (result.mean_return, result.std_return, result.mean_length) == (51.0, 49.0, 51.0)


def test_rewards_are_not_normalised_and_statistics_stay() -> None:
    venv: Any = VecNormalize(DummyVecEnv([Walk]))
    venv.obs_rms.mean, venv.obs_rms.var = np.array([-3.0]), np.array([1.0 - venv.epsilon])
    venv.ret_rms.var = np.array(1e6)
    before = (venv.obs_rms.count, venv.ret_rms.count)
    model = from_five_steps_on(venv)
    # The policy sees t + 3: it goes from t = 2 on, for 8 steps of 10.
    np.testing.assert_array_equal(evaluate(model, venv, n_episodes=2).returns, [8.0, 8.0])
    np.testing.assert_array_equal(evaluate(model, Walk(), n_episodes=2).returns, [8.0, 8.0])
    assert (venv.obs_rms.count, venv.ret_rms.count) == before
    assert (float(venv.obs_rms.mean[0]), venv.training) == (-3.0, True)


def test_without_vec_normalize_the_policy_sees_what_there_is() -> None:
    np.testing.assert_array_equal(evaluate(from_five_steps_on(Walk()), Walk(), n_episodes=1).returns, [5.0])


def test_one_seed_gives_the_same_episodes() -> None:
    env = gym.make("CartPole-v1")
    model = A2C("MlpPolicy", env, seed=0)
    settings: list[dict[str, Any]] = [{}, {"deterministic": False}, {"deterministic": False, "seed": 3}]
    results = [[evaluate(model, env, n_episodes=5, **setting).returns for _ in range(2)] for setting in settings]
    for one, other in results:
        np.testing.assert_array_equal(one, other)
    assert (results[1][0] != results[2][0]).any()
    assert (evaluate(model, env, n_episodes=5, deterministic=False, seed=None).returns != results[1][0]).any()


def test_global_randomness_goes_on_as_if_there_had_been_no_evaluation() -> None:
    env = gym.make("CartPole-v1")
    model = A2C("MlpPolicy", env, seed=0)
    torch.manual_seed(0)
    expected = float(torch.rand(()))
    torch.manual_seed(0)
    evaluate(model, env, n_episodes=2, deterministic=False)
    random_evaluation(env, n_episodes=2)
    assert float(torch.rand(())) == expected


def test_random_actions_return_what_they_must_on_average() -> None:
    result = random_evaluation(Walk(100), n_episodes=50)
    # Binomial: mean 50, deviation of the mean of 50 episodes 5 / sqrt(50).
    assert abs(result.mean_return - 50.0) < 4 * 5 / np.sqrt(50)
    assert result.lengths.shape == (50,)
    np.testing.assert_array_equal(result.returns, random_evaluation(Walk(100), n_episodes=50).returns)


def test_random_cartpole_is_the_known_baseline() -> None:
    assert 18.0 < random_evaluation(gym.make("CartPole-v1"), n_episodes=100).mean_return < 27.0


def test_score() -> None:
    assert score(20.0, random_return=20.0, expert_return=500.0) == 0.0
    assert score(500.0, random_return=20.0, expert_return=500.0) == 1.0
    assert score(-150.0, random_return=-200.0, expert_return=-100.0) == pytest.approx(0.5)
    assert score(0.0, random_return=20.0, expert_return=10.0) == pytest.approx(2.0)
    with pytest.raises(ValueError, match=r"must differ from that of random actions, got 9\.0 for both"):
        score(1.0, random_return=9.0, expert_return=9.0)


def test_errors() -> None:
    model = biased(Walk(), 0)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        evaluate(model, Walk(), n_episodes=0)
    with pytest.raises(TypeError, match="got str"):
        random_evaluation("CartPole-v1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the environment has"):
        evaluate(model, gym.make("CartPole-v1"))


def test_statistics_of_an_evaluation() -> None:
    result = Evaluation(returns=np.array([1.0, 3.0]), lengths=np.array([2, 4]), terminated=np.array([True, True]))
    assert repr(result) == "Evaluation(2 episodes, return 2 ± 1)"
    assert (result.mean_return, result.std_return, result.mean_length) == (2.0, 1.0, 3.0)
    assert result.termination_rate == pytest.approx(1 / 3)
