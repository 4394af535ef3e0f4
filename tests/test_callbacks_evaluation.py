"""When the policy is evaluated, on what, and that training does not notice."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import CallbackList, StopTrainingOnRewardThreshold
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_gail import Demonstrations, Discriminator
from sb3_gail.callbacks import GAILCallback, ImitationEvalCallback
from sb3_gail.data import shipped
from sb3_gail.evaluation import HELD_OUT_SEED, evaluate, random_evaluation
from sb3_gail.wrappers import GAILRewardVecWrapper, GAILRewardWrapper


class Walk(gym.Env[Any, Any]):
    """Observes the number of steps; action 1 pays 1, action 0 nothing; ends after 10 steps."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(0.0, 1000.0, (1,), np.float32)
        self.action_space = spaces.Discrete(2)
        self.t = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        return np.full(1, self.t, np.float32), float(action), False, self.t == 10, {}


class Dumps(KVWriter):
    """Keeps what a logger writes."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, Any]]] = []

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, Any], step: int = 0) -> None:
        self.rows.append((step, dict(key_values)))

    def close(self) -> None:
        pass

    def evaluations(self) -> list[tuple[int, dict[str, Any]]]:
        return [(step, row) for step, row in self.rows if "eval/mean_reward" in row]


def walks(n_envs: int) -> DummyVecEnv:
    return DummyVecEnv([Walk] * n_envs)


def demonstrations(reward: float | None = 1.0, n_episodes: int = 2) -> Demonstrations:
    """Expert episodes of `Walk` with that reward at each step."""
    observations = np.tile(np.arange(11, dtype=np.float32)[:, None], (n_episodes, 1))
    return Demonstrations.from_arrays(
        observations,
        np.ones(10 * n_episodes, np.int64),
        lengths=[10] * n_episodes,
        rewards=None if reward is None else np.full(10 * n_episodes, reward),
        action_space=spaces.Discrete(2),
    )


def learner(env: Any, **settings: Any) -> Any:
    defaults: dict[str, Any] = {"n_steps": 8, "batch_size": 8, "n_epochs": 1, "seed": 0}
    return PPO("MlpPolicy", env, **{**defaults, **settings})


def from_five_steps_on(env: Any) -> Any:
    """A policy that takes action 1 where it sees more than 4.5, and does not learn."""
    model = learner(env, learning_rate=0.0, policy_kwargs={"net_arch": []})
    with torch.no_grad():
        model.policy.action_net.weight.copy_(torch.tensor([[0.0], [10.0]]))
        model.policy.action_net.bias.copy_(torch.tensor([0.0, -45.0]))
    return model


quiet: Callable[..., ImitationEvalCallback] = partial(ImitationEvalCallback, n_eval_episodes=2, verbose=0)


def steps(callback: ImitationEvalCallback) -> list[int]:
    return [timesteps for timesteps, _, _ in callback.history]


@pytest.mark.parametrize(
    ("n_envs", "expected"), [(1, [10, 20, 30, 40]), (3, [12, 21, 30, 42]), (15, [15, 30, 45])], ids=str
)
def test_is_due_by_environment_steps(n_envs: int, expected: list[int]) -> None:
    callback = quiet(Walk(), demonstrations(), eval_freq=10)
    model = learner(walks(n_envs), n_steps=48 // n_envs, batch_size=48 // n_envs * n_envs)
    model.learn(45, callback=callback)
    assert steps(callback) == expected


def test_several_learns() -> None:
    callback = quiet(Walk(), demonstrations(), eval_freq=10)
    model = learner(Walk())
    model.learn(16, callback=callback)
    model.learn(8, callback=callback, reset_num_timesteps=False)
    model.learn(16, callback=callback)
    assert steps(callback) == [10, 20, 10]


def test_return_and_score_and_what_is_logged() -> None:
    callback = quiet(Walk(), demonstrations(), eval_freq=10)
    model, dumps = from_five_steps_on(Walk()), Dumps()
    model.set_logger(Logger(None, [dumps]))
    model.learn(24, callback=callback)
    random_return = random_evaluation(Walk()).mean_return
    score = (5.0 - random_return) / (10.0 - random_return)
    assert callback.random_return == random_return
    assert callback.history == [(10, 5.0, score), (20, 5.0, score)]
    expected = {
        "eval/mean_reward": 5.0,
        "eval/std_reward": 0.0,
        "eval/mean_ep_length": 10.0,
        "eval/score": score,
        "time/total_timesteps": 10,
    }
    step, row = dumps.evaluations()[0]
    assert (step, {key: row[key] for key in expected}) == (10, expected)


def test_a_known_random_return_is_taken() -> None:
    callback = quiet(Walk(), demonstrations(), eval_freq=8, random_return=-5.0)
    from_five_steps_on(Walk()).learn(8, callback=callback)
    assert callback.history == [(8, 5.0, 10 / 15)]


@pytest.mark.parametrize(
    ("reward", "settings", "reason"),
    [(None, {}, "the demonstrations carry no rewards"), (1.0, {"random_return": 10.0}, "return the same, 10.0")],
)
def test_without_a_score_it_says_so_once(
    reward: float | None, settings: dict[str, Any], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    callback = ImitationEvalCallback(Walk(), demonstrations(reward), eval_freq=8, n_eval_episodes=1, **settings)
    model, dumps = from_five_steps_on(Walk()), Dumps()
    model.set_logger(Logger(None, [dumps]))
    model.learn(8, callback=callback)
    model.learn(8, callback=callback, reset_num_timesteps=False)
    assert callback.history == [(8, 5.0, None), (16, 5.0, None)]
    assert all("eval/score" not in row for _, row in dumps.rows)
    printed = capsys.readouterr().out
    assert printed.count("no eval/score") == 1
    assert reason in printed
    assert "8 steps: return 5.00 +/- 0.00\n" in printed


def test_it_says_where_demonstrations_are_worse_than_random_actions(capsys: pytest.CaptureFixture[str]) -> None:
    callback = ImitationEvalCallback(Walk(), demonstrations(), eval_freq=8, n_eval_episodes=1, random_return=12.0)
    from_five_steps_on(Walk()).learn(8, callback=callback)
    assert callback.history == [(8, 5.0, 3.5)]
    printed = capsys.readouterr().out
    assert "return 10.00, less than random actions, 12.00: a higher eval/score is a lower return." in printed


@pytest.mark.parametrize("wrapped", [False, True], ids=["plain eval env", "eval env with its own VecNormalize"])
def test_the_policy_sees_the_statistics_of_training(wrapped: bool) -> None:
    training: Any = VecNormalize(walks(2), training=False)
    training.obs_rms.mean, training.obs_rms.var = np.array([-3.0]), np.array([1.0 - training.epsilon])
    callback = quiet(VecNormalize(walks(1)) if wrapped else Walk(), demonstrations(), eval_freq=16)
    from_five_steps_on(training).learn(16, callback=callback)
    assert [mean_return for _, mean_return, _ in callback.history] == [8.0]


@pytest.mark.parametrize("deterministic", [True, False])
def test_training_is_the_same_as_without(deterministic: bool) -> None:
    def train(callback: Any) -> Any:
        env = VecNormalize(make_vec_env("CartPole-v1", 2, seed=0))
        model = learner(env, n_steps=32, batch_size=16)
        return model.learn(192, callback=callback)

    demos = Demonstrations.from_agent(learner(gym.make("CartPole-v1")), gym.make("CartPole-v1"), 2)
    callback = quiet(gym.make("CartPole-v1"), demos, eval_freq=50, deterministic=deterministic)
    evaluated, alone = train(CallbackList([callback])), train(None)
    assert steps(callback) == [50, 100, 150]
    assert evaluated.num_timesteps == alone.num_timesteps
    theirs = alone.policy.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in evaluated.policy.state_dict().items())
    np.testing.assert_array_equal(evaluated.env.obs_rms.mean, alone.env.obs_rms.mean)


def test_each_evaluation_plays_the_same_held_out_episodes() -> None:
    env = gym.make("CartPole-v1")
    model = learner(env, learning_rate=0.0)
    callback = quiet(gym.make("CartPole-v1"), Demonstrations.from_agent(model, env, 2), eval_freq=20)
    model.learn(64, callback=callback)
    expected = evaluate(model, gym.make("CartPole-v1"), n_episodes=2, seed=HELD_OUT_SEED).mean_return
    assert [mean_return for _, mean_return, _ in callback.history] == [expected] * 3


@pytest.mark.parametrize("vectorised", [True, False])
def test_beside_gail_it_reports_the_true_return(vectorised: bool) -> None:
    demos = demonstrations()
    discriminator = Discriminator.from_demonstrations(demos)
    training = GAILRewardVecWrapper(walks(2), discriminator) if vectorised else GAILRewardWrapper(Walk(), discriminator)
    callback = quiet(GAILRewardWrapper(Walk(), discriminator), demos, eval_freq=16)
    model = from_five_steps_on(training)
    model.learn(32, callback=[GAILCallback(discriminator, demos), callback])
    assert [(timesteps, mean_return) for timesteps, mean_return, _ in callback.history] == [(16, 5.0), (32, 5.0)]


def test_saves_the_best_by_a_criterion_without_reward(tmp_path: Path) -> None:
    values = iter([2.0, 3.0, 1.0])
    asked: list[tuple[Any, float]] = []

    def criterion(model: Any, evaluation: Any) -> float:
        asked.append((model, evaluation.mean_return))
        return next(values)

    env = VecNormalize(walks(1))
    callback = quiet(Walk(), demonstrations(), eval_freq=8, best_model_save_path=tmp_path / "best", criterion=criterion)
    model = learner(env)
    model.learn(24, callback=callback)
    assert [(one is model, value) for one, value in asked] == [(True, value) for _, value, _ in callback.history]
    assert PPO.load(tmp_path / "best" / "best_model").num_timesteps == 16
    assert VecNormalize.load(str(tmp_path / "best" / "best_vecnormalize.pkl"), walks(1)).obs_rms is not None
    assert sorted(path.name for path in (tmp_path / "best").iterdir()) == [
        "best_criterion.json",
        "best_model.zip",
        "best_vecnormalize.pkl",
    ]


def test_saves_the_best_by_return_where_the_user_says_so(tmp_path: Path) -> None:
    callback = quiet(Walk(), demonstrations(), eval_freq=8, best_model_save_path=tmp_path, criterion="return")
    from_five_steps_on(Walk()).learn(16, callback=callback)
    # The second evaluation returns the same, which is not better.
    assert PPO.load(tmp_path / "best_model").num_timesteps == 8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best_criterion.json", "best_model.zip"]


def test_training_that_goes_on_keeps_the_better_model(tmp_path: Path) -> None:
    def learn(model: Any, value: float, **settings: Any) -> int:
        callback = quiet(
            Walk(), demonstrations(), eval_freq=8, best_model_save_path=tmp_path, criterion=lambda *_: value
        )
        model.learn(8, callback=callback, **settings)
        return PPO.load(tmp_path / "best_model").num_timesteps

    model = learner(Walk())
    assert learn(model, 5.0) == 8
    assert learn(model, 4.0, reset_num_timesteps=False) == 8
    assert learn(model, 6.0, reset_num_timesteps=False) == 24
    again = learner(Walk())
    assert learn(again, 1.0) == 8  # a new agent begins anew


def test_stops_training_like_sb3s_eval_callback() -> None:
    for threshold, expected in [(4.5, 8), (5.5, 32)]:
        stop = StopTrainingOnRewardThreshold(threshold, verbose=0)
        callback = quiet(Walk(), demonstrations(), eval_freq=8, callback_after_eval=stop)
        assert from_five_steps_on(Walk()).learn(32, callback=callback).num_timesteps == expected


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"eval_freq": 0}, ValueError, "eval_freq must be at least 1, got 0"),
        ({"n_eval_episodes": -1}, ValueError, "n_eval_episodes must be at least 1, got -1"),
        ({"best_model_save_path": "best"}, ValueError, "criterion=None"),
        ({"criterion": "return"}, ValueError, "best_model_save_path=None"),
        ({"criterion": "reward", "best_model_save_path": "best"}, ValueError, "got 'reward'"),
        ({"eval_env": "CartPole-v1"}, TypeError, "got str"),
        ({"demonstrations": "hopper.npz"}, TypeError, "must be Demonstrations, such as .* got str"),
    ],
)
def test_constructor_errors(settings: dict[str, Any], error: type[Exception], message: str) -> None:
    defaults: dict[str, Any] = {"eval_env": Walk(), "demonstrations": demonstrations()}
    with pytest.raises(error, match=message):
        ImitationEvalCallback(**{**defaults, **settings})


def test_errors_before_training_starts() -> None:
    env = Walk()
    with pytest.raises(ValueError, match="must not be the environment that the model trains on"):
        learner(env).learn(8, callback=quiet(env, demonstrations()))
    with pytest.raises(ValueError, match="the environment has"):
        learner(env).learn(8, callback=quiet(gym.make("CartPole-v1"), demonstrations()))
    with pytest.raises(ValueError, match="observations: expected"):
        learner(env).learn(8, callback=quiet(Walk(), Demonstrations.load(shipped("CartPole-v1"))))
