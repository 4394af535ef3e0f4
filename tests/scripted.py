"""Scripted environments, adversaries and callbacks, whose every value tests can know without the code under test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib import TRPO, MaskablePPO
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecNormalize
from torch import Tensor

from sb3_gail import Adversary, Demonstrations, Transitions
from sb3_gail.transitions import Array
from sb3_gail.wrappers import GAILRewardVecWrapper, GAILRewardWrapper

LEARNERS: dict[str, tuple[type[OnPolicyAlgorithm], dict[str, Any]]] = {
    "TRPO": (TRPO, {"cg_max_steps": 3, "n_critic_updates": 1, "gae_lambda": 0.9}),
    "PPO": (PPO, {"n_epochs": 1, "gae_lambda": 0.9}),
    "A2C": (A2C, {"gae_lambda": 0.9}),
    "MaskablePPO": (MaskablePPO, {"n_epochs": 1, "gae_lambda": 0.9}),
}


class Truth(NamedTuple):
    """What an environment itself says happened in a step."""

    observation: Any
    action: Any
    next_observation: Any
    terminated: bool
    truncated: bool
    env_reward: float


class Scripted(gym.Env[Any, Any]):
    """Observes `[copy, episode, t, sum of actions]` in odd units; tells each step's truth in `info["truth"]`.

    Its episodes have the given lengths, over and over; they end in the given way, or every other way if `"both"`. The
    environment's reward is large, so that a learner that gets some of it shows.
    """

    def __init__(self, copy: int = 0, *, lengths: Sequence[int] = (3, 4), ends: str = "terminated") -> None:
        self.observation_space = self.make_observation_space()
        self.action_space = self.make_action_space()
        self.copy, self.lengths, self.ends = copy, lengths, ends
        self.episode = -1
        self.t = 0
        self.total = 0.0

    def make_observation_space(self) -> spaces.Space[Any]:
        return spaces.Box(-np.inf, np.inf, (4,), np.float64)

    def make_action_space(self) -> spaces.Space[Any]:
        return spaces.Box(-0.5, 0.5, (2,), np.float32)

    def observe(self) -> Any:
        return np.array([0.7 * self.copy, 0.3 * self.episode, 0.1 * self.t, self.total])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.episode += 1
        self.t, self.total = 0, 0.0
        return self.observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        before = self.observe()
        self.t += 1
        self.total += float(np.sum(action))
        done = self.t == self.lengths[self.episode % len(self.lengths)]
        truncates = self.ends == "truncated" or (self.ends == "both" and self.episode % 2 == 1)
        reward = 1000.0 * (self.copy + 1) + 10.0 * self.episode + self.t
        truth = Truth(before, np.array(action), self.observe(), done and not truncates, done and truncates, reward)
        return truth.next_observation, reward, truth.terminated, truth.truncated, {"truth": truth}


class Choosing(Scripted):
    """With one of three actions, and masks for learners that want them."""

    def make_action_space(self) -> spaces.Space[Any]:
        return spaces.Discrete(3)

    def action_masks(self) -> Array:
        masks: Array = np.arange(3) != self.t % 3
        return masks


class Keyed(Scripted):
    """With dict observations."""

    def make_observation_space(self) -> spaces.Space[Any]:
        return spaces.Dict(
            {
                "place": spaces.Box(-np.inf, np.inf, (2,), np.float64),
                "time": spaces.Box(-np.inf, np.inf, (1,), np.float32),
            }
        )

    def observe(self) -> Any:
        copy, episode, t, _ = super().observe()
        return {"place": np.array([copy, episode]), "time": np.array([t], np.float32)}


class Pictured(Scripted):
    """With images whose channels are last, each pixel telling the time, and one of three actions."""

    side = 36

    def make_observation_space(self) -> spaces.Space[Any]:
        return spaces.Box(0, 255, (self.side, self.side, 3), np.uint8)

    def make_action_space(self) -> spaces.Space[Any]:
        return spaces.Discrete(3)

    def observe(self) -> Any:
        picture = np.zeros((self.side, self.side, 3), np.uint8)
        picture[..., 0], picture[..., 1] = 40 * self.t, 10 * self.copy
        picture[0, 1, 2] = self.episode % 256
        return picture


class ScriptedAdversary(Adversary):
    """Rewards by a fixed linear function times the number of updates plus one, and remembers what it was given."""

    def __init__(self) -> None:
        self.generation = 0
        self.policy_batches: list[Transitions] = []
        self.progress: list[float] = []

    def reward(self, transitions: Transitions) -> Tensor:
        return torch.as_tensor(linear_reward(transitions, self.generation), dtype=torch.float32)

    def update(
        self, policy: Transitions, expert: Transitions, *, progress_remaining: float
    ) -> Mapping[str, float | Array]:
        self.generation += 1
        self.policy_batches.append(policy)
        self.progress.append(progress_remaining)
        return {"generation": float(self.generation)}

    def state_dict(self) -> dict[str, Any]:
        return {"generation": self.generation}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.generation = state["generation"]


def linear_reward(transitions: Transitions, generation: int) -> Array:
    """`ScriptedAdversary`'s reward `[B]` in double precision; every part of a transition counts."""

    def total(rows: Any) -> Array:
        parts = list(rows.values()) if isinstance(rows, Mapping) else [rows]
        columns = np.concatenate([np.asarray(part, np.float64).reshape(len(part), -1) for part in parts], axis=1)
        totals: Array = (columns * np.sin(1.0 + np.arange(columns.shape[1]))).sum(axis=1)
        return totals

    before, after = total(transitions.observations), total(transitions.next_observations)
    bonus = 5.0 * np.asarray(transitions.terminated)
    rewards: Array = (0.5 + before + 2.0 * total(transitions.actions) - 3.0 * after + bonus) * (generation + 1)
    return rewards


def transitions_of(truths: Sequence[Truth]) -> Transitions:
    """The true transitions as one batch, in the environment's own precision."""

    def stack(rows: Sequence[Any]) -> Any:
        if isinstance(rows[0], Mapping):
            return {key: np.stack([row[key] for row in rows]) for key in rows[0]}
        return np.stack(rows)

    return Transitions(
        observations=stack([truth.observation for truth in truths]),
        actions=stack([truth.action for truth in truths]),
        next_observations=stack([truth.next_observation for truth in truths]),
        terminated=np.array([truth.terminated for truth in truths]),
    )


class Rollout(NamedTuple):
    """One rollout as the environment and the policy know it, and the learner's buffer after all callbacks before."""

    truths: list[list[Truth]]  # [T][n_envs]
    bootstrap_values: Array  # [T, n_envs], of the true last observations
    last_values: Array  # [n_envs]
    rewards: Array  # [T, n_envs]
    values: Array
    advantages: Array
    returns: Array
    log_probs: Array  # of the actions, as the policy said when it took them

    @property
    def ends(self) -> Array:
        return np.array([[truth.terminated or truth.truncated for truth in step] for step in self.truths])

    @property
    def truncated(self) -> Array:
        return np.array([[truth.truncated for truth in step] for step in self.truths])

    def true_rewards(self, generation: int) -> Array:
        """What the scripted adversary of a generation pays for what truly happened, `[T, n_envs]`."""
        flat = [truth for step in self.truths for truth in step]
        return linear_reward(transitions_of(flat), generation).reshape(self.rewards.shape)


class Recorder(BaseCallback):
    """Keeps all rollouts; it belongs behind the callback under test."""

    def __init__(self) -> None:
        super().__init__()
        self.rollouts: list[Rollout] = []
        self.learning_rates: list[float] = []
        self.episodes: list[dict[str, Any]] = []
        self.paid: list[Array] = []
        self.infos: list[dict[str, Any]] = []
        self._truths: list[list[Truth]] = []
        self._bootstrap_values: list[Array] = []
        self._log_probs: list[Array] = []

    def _on_rollout_start(self) -> None:
        self._truths, self._bootstrap_values, self._log_probs = [], [], []

    def _on_step(self) -> bool:
        infos = self.locals["infos"]
        self.infos.extend(infos)
        self.episodes.extend(info["episode"] for info in infos if "episode" in info)
        self.paid.append(np.array(self.locals["rewards"]))
        truths = [info["truth"] for info in infos]
        self._truths.append(truths)
        self._bootstrap_values.append(self.values([truth.next_observation for truth in truths]))
        self._log_probs.append(self.locals["log_probs"].detach().cpu().numpy().reshape(len(truths)))
        return True

    def _on_rollout_end(self) -> None:
        buffer = self.model.rollout_buffer  # type: ignore[attr-defined]
        self.rollouts.append(
            Rollout(
                self._truths,
                np.array(self._bootstrap_values),
                self._bootstrap_values[-1],
                buffer.rewards.copy(),
                buffer.values.copy(),
                buffer.advantages.copy(),
                buffer.returns.copy(),
                np.array(self._log_probs),
            )
        )
        self.learning_rates.append(float(self.model.lr_schedule(self.model._current_progress_remaining)))

    def values(self, observations: Sequence[Any]) -> Array:
        """What the critic says of raw observations, normalised and clipped by hand, `[n_envs]`."""
        rows = np.stack(observations)
        vec_normalize = self.model.get_vec_normalize_env()
        if vec_normalize is not None:
            statistics: Any = vec_normalize.obs_rms
            deviation = np.sqrt(statistics.var + vec_normalize.epsilon)
            limit = vec_normalize.clip_obs
            rows = np.clip((rows - statistics.mean) / deviation, -limit, limit).astype(np.float32)
        policy: Any = self.model.policy
        with torch.no_grad():
            values: Array = policy.predict_values(policy.obs_to_tensor(rows)[0]).cpu().numpy().ravel()
        return values


def hand_written_gae(
    rewards: Array, values: Array, ends: Array, last_values: Array, *, gamma: float, gae_lambda: float
) -> Array:
    """Generalised advantages `[T, n_envs]`, as the sum over later temporal-difference errors that defines them."""
    n_steps, n_envs = rewards.shape
    advantages = np.zeros((n_steps, n_envs))
    following = np.concatenate([values[1:], last_values[None]]).astype(np.float64)
    errors = rewards + gamma * following * ~ends - values
    for env in range(n_envs):
        for start in range(n_steps):
            weight = 1.0
            for step in range(start, n_steps):
                advantages[start, env] += weight * errors[step, env]
                if ends[step, env]:
                    break
                weight *= gamma * gae_lambda
    return advantages


@contextmanager
def wrapped_copies(
    adversary: Adversary,
    *,
    wrapper: str = "gym",
    backend: str = "dummy",
    n_envs: int = 2,
    kind: type[Scripted] = Scripted,
    **settings: Any,
) -> Iterator[VecEnv]:
    """Copies of a scripted environment with a reward wrapper in or around them; workers are closed."""

    def make(copy: int) -> gym.Env[Any, Any]:
        env = kind(copy, **settings)
        return GAILRewardWrapper(env, adversary) if wrapper == "gym" else env

    makers: list[Callable[[], gym.Env[Any, Any]]] = [partial(make, copy) for copy in range(n_envs)]
    # Forking is fast, but CUDA does not survive it.
    start = "forkserver" if torch.cuda.is_available() else "fork"
    inner = DummyVecEnv(makers) if backend == "dummy" else SubprocVecEnv(makers, start_method=start)
    try:
        yield GAILRewardVecWrapper(inner, adversary) if wrapper == "vec" else inner
    finally:
        inner.close()


def make_learner(
    name: str, env: Any, *, n_steps: int = 6, policy: str = "MlpPolicy", **settings: Any
) -> OnPolicyAlgorithm:
    """A small learner on an environment."""
    learner, defaults = LEARNERS[name]
    made: Any = learner
    arguments: dict[str, Any] = {"policy_kwargs": {"net_arch": [4]}, "seed": 0, **defaults, **settings}
    if name != "A2C":
        arguments.setdefault("batch_size", n_steps * env.num_envs)
    model: OnPolicyAlgorithm = made(policy, env, n_steps=n_steps, **arguments)
    return model


def demonstrations_of(env: gym.Env[Any, Any], *, n_episodes: int = 3, seed: int = 0) -> Demonstrations:
    """Whole episodes of random actions."""
    env.action_space.seed(seed)
    episodes = []
    for _ in range(n_episodes):
        observation, _ = env.reset(seed=seed)
        truths: list[Truth] = []
        while not truths or not (truths[-1].terminated or truths[-1].truncated):
            observation, _, _, _, info = env.step(env.action_space.sample())
            truths.append(info["truth"])
        batch = transitions_of([*truths, truths[-1]._replace(observation=observation)])
        episodes.append(
            {
                "observations": batch.observations,
                "actions": np.asarray(batch.actions)[:-1],
                "rewards": np.array([truth.env_reward for truth in truths]),
                "terminated": truths[-1].terminated,
                "truncated": truths[-1].truncated,
            }
        )
    return Demonstrations.from_episodes(
        episodes, observation_space=env.observation_space, action_space=env.action_space
    )


def normalised(venv: VecEnv, **settings: Any) -> VecNormalize:
    """Within `VecNormalize` that clips within reach."""
    return VecNormalize(venv, **{"norm_reward": False, "clip_obs": 0.8, **settings})
