"""Evaluation during training, by the true return."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, EventCallback
from stable_baselines3.common.vec_env import VecEnv

from sb3_gail.demonstrations import Demonstrations, check_demonstrations
from sb3_gail.evaluation import HELD_OUT_SEED, Evaluation, evaluate, random_evaluation, score
from sb3_gail.files import replacing
from sb3_gail.json_files import read_json, write_json
from sb3_gail.raw_observations import raw_vec_env
from sb3_gail.rollouts import as_vec_env, policy_actor

Criterion = Callable[[BaseAlgorithm, Evaluation], float]
"""How good the current model is, given what its evaluation returned; higher is better."""


class ImitationEvalCallback(EventCallback):
    """Evaluates the policy by its true return on an environment of its own, every so many environment steps.

    The evaluation environment is the plain one: without a reward wrapper, and without `VecNormalize` even where
    training has one, since the policy's observations are normalised with the training environment's statistics of the
    moment. Each evaluation plays the same held-out episodes, and training goes on as if there had been none: with the
    same random numbers and the same number of steps.

    Logs `eval/mean_reward`, `eval/std_reward`, `eval/mean_ep_length` and `eval/score`. The score is 0 for random
    actions, measured once when training starts, and 1 for the mean return of the demonstrations; where they carry no
    rewards there is none.

    **Choosing a model by its true return is for benchmarks only.** Who has no reward to train on has none to choose by,
    and a best model that was chosen with it promises more than imitation can keep. In earnest keep the last model, or
    name a criterion that needs no reward.

    Example:
        >>> import gymnasium as gym
        >>> import numpy as np
        >>> from stable_baselines3 import PPO
        >>> from sb3_gail import Demonstrations
        >>> from sb3_gail.callbacks import ImitationEvalCallback
        >>> model = PPO("MlpPolicy", gym.make("CartPole-v1"), n_steps=128)
        >>> demonstrations = Demonstrations.from_agent(model, gym.make("CartPole-v1"), 2)
        >>> evaluation = ImitationEvalCallback(gym.make("CartPole-v1"), demonstrations, eval_freq=128, verbose=0)
        >>> _ = model.learn(256, callback=evaluation)
        >>> [timesteps for timesteps, mean_return, score in evaluation.history]
        [128, 256]

    Args:
        eval_env: A Gymnasium environment or a `VecEnv`, not the one that the model trains on.
        demonstrations: Their mean return is the score's 1.
        eval_freq: Environment steps between evaluations, whatever the number of environments.
        n_eval_episodes: Episodes of an evaluation.
        deterministic: Whether the policy takes its most likely action.
        seed: Of the evaluation environment: the same episodes each time.
        best_model_save_path: A folder for `best_model.zip`, with `best_vecnormalize.pkl` beside it where training has
            `VecNormalize`, and `best_criterion.json`: training that goes on replaces them by a better one alone.
        criterion: What is best: `"return"`, the mean true return (see above), or a function of the model and its
            `Evaluation`, where more is better. To be named where a best model is saved, and only there.
        random_return: The score's 0, where it is known already.
        callback_after_eval: Called after each evaluation, such as SB3's `StopTrainingOnRewardThreshold`.
        verbose: 1 prints each evaluation.

    Attributes:
        history: Environment steps, mean return and score of each evaluation so far.
        random_return: The score's 0, from the start of training on.

    Raises:
        TypeError: If `eval_env` is not an environment, or `demonstrations` are not `Demonstrations`.
        ValueError: If `eval_freq` or `n_eval_episodes` is below 1, or one of `criterion` and `best_model_save_path` is
            given without the other; when training starts, if the environment is the one that the model trains on, or
            its spaces are not the model's.
    """

    def __init__(
        self,
        eval_env: gym.Env[Any, Any] | VecEnv,
        demonstrations: Demonstrations,
        *,
        eval_freq: int = 10_000,
        n_eval_episodes: int = 20,
        deterministic: bool = True,
        seed: int = HELD_OUT_SEED,
        best_model_save_path: str | Path | None = None,
        criterion: Literal["return"] | Criterion | None = None,
        random_return: float | None = None,
        callback_after_eval: BaseCallback | None = None,
        verbose: int = 1,
    ) -> None:
        super().__init__(callback_after_eval, verbose=verbose)
        check_demonstrations(demonstrations)
        for name, value in (("eval_freq", eval_freq), ("n_eval_episodes", n_eval_episodes)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if criterion is not None and criterion != "return" and not callable(criterion):
            raise ValueError(f'criterion must be "return" or a function of (model, evaluation), got {criterion!r}')
        if (criterion is None) != (best_model_save_path is None):
            raise ValueError(
                "to save the best model, give both best_model_save_path and the criterion to choose it by, got "
                f"best_model_save_path={best_model_save_path!r} and criterion={criterion!r}"
            )
        self.eval_env = raw_vec_env(as_vec_env(eval_env))
        self.demonstrations = demonstrations
        self.eval_freq = eval_freq
        self.n_eval_episodes = n_eval_episodes
        self.deterministic = deterministic
        self.seed = seed
        self.best_model_save_path = None if best_model_save_path is None else Path(best_model_save_path)
        self.random_return = random_return
        self.history: list[tuple[int, float, float | None]] = []
        # The names by which SB3's StopTraining callbacks know their parent's results.
        self.last_mean_reward = self.best_mean_reward = -float("inf")
        self._criterion: Criterion | None = _by_return if criterion == "return" else criterion
        self._best = -float("inf")
        self._evaluated_at = 0
        self._said_no_score = False

    def _init_callback(self) -> None:
        if _share_an_env(self.eval_env, self.training_env):
            raise ValueError("eval_env must not be the environment that the model trains on: make another one")
        policy_actor(self.model, self.eval_env, deterministic=self.deterministic)  # checks the spaces
        self.demonstrations.check_spaces(self.eval_env.observation_space, self.eval_env.action_space)

    def _on_training_start(self) -> None:
        self._evaluated_at = self.num_timesteps
        self._know_the_best_so_far()
        if self.demonstrations.mean_return is None:
            self._say_no_score("the demonstrations carry no rewards")
        elif self.random_return is None:
            self.random_return = random_evaluation(self.eval_env, seed=self.seed).mean_return
        if self.random_return is not None and self.random_return == self.demonstrations.mean_return:
            self._say_no_score(f"demonstrations and random actions return the same, {self.random_return}")
        self._say_if_upside_down()
        super()._on_training_start()

    def _know_the_best_so_far(self) -> None:
        """Training that goes on, in another process, has a best model to better; one that begins has none."""
        if self.best_model_save_path is None or self.num_timesteps == 0:
            return
        saved = self.best_model_save_path / "best_criterion.json"
        if saved.exists():
            self._best = max(self._best, float(read_json(saved)["criterion"]))

    def _say_if_upside_down(self) -> None:
        zero, one = self.random_return, self.demonstrations.mean_return
        if self.verbose >= 1 and zero is not None and one is not None and one < zero:
            print(
                f"The demonstrations return {one:.2f}, less than random actions, {zero:.2f}: a higher eval/score is a "
                f"lower return. Look whether their rewards are this environment's, and whether they show what you want."
            )

    def _say_no_score(self, reason: str) -> None:
        if self.verbose >= 1 and not self._said_no_score:
            print(f"There will be no eval/score: {reason}.")
        self._said_no_score = True

    def _on_step(self) -> bool:
        due = self.num_timesteps // self.eval_freq > self._evaluated_at // self.eval_freq
        if not due:
            return True
        self._evaluated_at = self.num_timesteps
        evaluation = evaluate(
            self.model,
            self.eval_env,
            n_episodes=self.n_eval_episodes,
            deterministic=self.deterministic,
            seed=self.seed,
        )
        self._record(evaluation)
        self._save_if_best(evaluation)
        return self._on_event()

    def _record(self, evaluation: Evaluation) -> None:
        mean_return, achieved = evaluation.mean_return, self._score(evaluation.mean_return)
        self.history.append((self.num_timesteps, mean_return, achieved))
        self.last_mean_reward = mean_return
        self.best_mean_reward = max(self.best_mean_reward, mean_return)

        self.logger.record("eval/mean_reward", mean_return)
        self.logger.record("eval/std_reward", evaluation.std_return)
        self.logger.record("eval/mean_ep_length", evaluation.mean_length)
        if achieved is not None:
            self.logger.record("eval/score", achieved)
        # Written at once, as by SB3's EvalCallback, so that it stands at its own time step.
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        self.logger.dump(self.num_timesteps)
        if self.verbose >= 1:
            with_score = "" if achieved is None else f", score {achieved:.3f}"
            print(f"{self.num_timesteps} steps: return {mean_return:.2f} +/- {evaluation.std_return:.2f}{with_score}")

    def _score(self, mean_return: float) -> float | None:
        expert_return = self.demonstrations.mean_return
        if expert_return is None or self.random_return is None or expert_return == self.random_return:
            return None
        return score(mean_return, random_return=self.random_return, expert_return=expert_return)

    def _save_if_best(self, evaluation: Evaluation) -> None:
        if self.best_model_save_path is None or self._criterion is None:
            return
        value = float(self._criterion(self.model, evaluation))
        if value <= self._best:
            return
        self._best = value
        with replacing(self.best_model_save_path / "best_model.zip") as path:
            self.model.save(path)
        normalise = self.model.get_vec_normalize_env()
        if normalise is not None:
            with replacing(self.best_model_save_path / "best_vecnormalize.pkl") as path:
                normalise.save(str(path))
        written = {"num_timesteps": self.num_timesteps, "criterion": value}
        write_json(self.best_model_save_path / "best_criterion.json", written)


def _by_return(model: BaseAlgorithm, evaluation: Evaluation) -> float:
    return evaluation.mean_return


def _share_an_env(one: VecEnv, other: VecEnv) -> bool:
    one, other = one.unwrapped, other.unwrapped
    copies = {id(env.unwrapped) for env in getattr(one, "envs", ())}
    return one is other or any(id(env.unwrapped) in copies for env in getattr(other, "envs", ()))
