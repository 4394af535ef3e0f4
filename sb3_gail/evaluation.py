"""True returns and scores of a policy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from sb3_gail.episodes import Episode
from sb3_gail.rollouts import as_vec_env, episodes, isolated_randomness, policy_actor, random_actor
from sb3_gail.transitions import Array

HELD_OUT_SEED = 1_000_000
"""Where evaluation's seeds begin: far from the small ones that policies train on and that experts are recorded on."""


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """What whole episodes returned.

    Attributes:
        returns: `[N]` float64, sums of the environment's own rewards.
        lengths: `[N]` int, steps.
        terminated: `[N]` bool, whether each episode reached a terminal state.
    """

    returns: Array
    lengths: Array
    terminated: Array

    def __repr__(self) -> str:
        return f"Evaluation({len(self.returns)} episodes, return {self.mean_return:.6g} ± {self.std_return:.6g})"

    @property
    def mean_return(self) -> float:
        """Mean over episodes."""
        return float(np.mean(self.returns))

    @property
    def std_return(self) -> float:
        """Standard deviation over episodes."""
        return float(np.std(self.returns))

    @property
    def mean_length(self) -> float:
        """Mean number of steps of an episode."""
        return float(np.mean(self.lengths))

    @property
    def termination_rate(self) -> float:
        """Terminations per step."""
        return float(np.sum(self.terminated) / np.sum(self.lengths))


def evaluate(
    model: BaseAlgorithm,
    env: gym.Env[Any, Any] | VecEnv,
    *,
    n_episodes: int = 20,
    deterministic: bool = True,
    seed: int | None = HELD_OUT_SEED,
) -> Evaluation:
    """Plays episodes with a trained policy and reports their true returns.

    Recurrent policies keep their state, maskable ones get their masks, and no statistics of a `VecNormalize` change:
    the policy's observations are normalised with those around `env`, or where it has none, around the model's own
    environment. Copies of a vectorised environment play equal shares, so that short episodes are not preferred. Two
    calls with one seed play the same episodes, and the global random generators are left as they were. An episode ends
    when the environment says so: evaluate Atari games without wrappers that end an episode at each lost life.

    Example:
        >>> import gymnasium as gym
        >>> from stable_baselines3 import PPO
        >>> from sb3_gail.evaluation import evaluate
        >>> model = PPO("MlpPolicy", gym.make("CartPole-v1"), seed=0)
        >>> evaluate(model, gym.make("CartPole-v1"), n_episodes=3).returns.shape
        (3,)

    Args:
        model: Any SB3 or sb3-contrib model.
        env: The environment; with or without a reward wrapper of ours, `VecNormalize` or other SB3 wrappers.
        n_episodes: How many episodes.
        deterministic: Whether the policy takes its most likely action.
        seed: Seeds the environment and, where it is not deterministic, the policy; `None` leaves both unseeded.

    Raises:
        TypeError: If `env` is not an environment.
        ValueError: If `n_episodes` is below 1, or the environment's spaces are not those of the model's.
    """
    venv = as_vec_env(env)
    with isolated_randomness(seed):
        return _evaluation(
            episodes(policy_actor(model, venv, deterministic=deterministic), venv, n_episodes, seed=seed)
        )


def random_evaluation(
    env: gym.Env[Any, Any] | VecEnv, *, n_episodes: int = 50, seed: int | None = HELD_OUT_SEED
) -> Evaluation:
    """Plays episodes of random actions: what a score of 0 means. Arguments and errors as in `evaluate`."""
    venv = as_vec_env(env)
    with isolated_randomness(seed):
        return _evaluation(episodes(random_actor(venv, seed=seed), venv, n_episodes, seed=seed))


def _evaluation(played: Iterable[Episode]) -> Evaluation:
    """Keeps no more of each episode than its return, its length and how it ended."""
    kept = ((np.sum(np.asarray(episode.rewards)), len(episode), episode.terminated) for episode in played)
    returns, lengths, terminated = zip(*kept, strict=True)
    return Evaluation(np.array(returns), np.array(lengths), np.array(terminated))


def score(mean_return: float, *, random_return: float, expert_return: float) -> float:
    """`(return - random) / (expert - random)`: 0 is as good as random actions, 1 is as good as the expert.

    Raises:
        ValueError: If the expert's return is that of random actions.
    """
    if expert_return == random_return:
        raise ValueError(
            f"the expert's mean return must differ from that of random actions, got {expert_return} for both"
        )
    return (mean_return - random_return) / (expert_return - random_return)
