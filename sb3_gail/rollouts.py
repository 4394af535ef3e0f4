"""Whole episodes of an agent, or of random actions: raw observations, executed actions, true rewards."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize, is_vecenv_wrapped

from sb3_gail.episodes import Episode
from sb3_gail.exploration import Exploration
from sb3_gail.raw_observations import policy_observations, raw_vec_env
from sb3_gail.spaces import single_precision_space
from sb3_gail.transitions import Array, Observations, map_observations

Actor = Callable[[Observations, Array], Array]
"""From raw observations `[B, *obs]` and episode starts `[B]` to the actions `[B, *act]` to execute."""

LONGEST_EPISODE = 50_000
"""An episode that has more steps than these is taken for one that never ends."""


def as_vec_env(env: gym.Env[Any, Any] | VecEnv) -> VecEnv:
    """The environment as SB3's `VecEnv`.

    Raises:
        TypeError: If it is neither a Gymnasium environment nor a `VecEnv`.
    """
    if isinstance(env, VecEnv):
        return env
    if not isinstance(env, gym.Env):
        raise TypeError(f"env: expected a Gymnasium environment or an SB3 VecEnv, got {type(env).__name__}")
    return DummyVecEnv([lambda: env])


def episodes(act: Actor, venv: VecEnv, n_episodes: int, *, seed: int | None = None) -> Iterator[Episode]:
    """Yields whole episodes, in an order that does not depend on their lengths.

    What is stepped is the raw environment inside `VecNormalize`, so no statistics move. Each copy in it plays a fixed
    share of the episodes: simply the first ones to end would be the short ones. A reward is `info["env_reward"]` where
    a reward wrapper of ours put it, else the environment's.

    Args:
        act: Chooses the actions: `policy_actor` or `random_actor`.
        venv: The environment, see `as_vec_env`.
        n_episodes: How many.
        seed: Of the environment's next reset; see `isolated_randomness` for the policy's sampling.

    Raises:
        TypeError: If `n_episodes` is no integer.
        ValueError: If `n_episodes` is below 1; while it plays, if an episode does not end.
    """
    if not isinstance(n_episodes, (int, np.integer)):
        raise TypeError(f"n_episodes: expected an integer, got {n_episodes!r}")
    if n_episodes < 1:
        raise ValueError(f"n_episodes: expected at least 1, got {n_episodes}")
    return _episodes(act, raw_vec_env(venv), n_episodes, seed)


def _episodes(act: Actor, venv: VecEnv, n_episodes: int, seed: int | None) -> Iterator[Episode]:
    quotas = [(n_episodes + copy) // venv.num_envs for copy in range(venv.num_envs)]
    order = sorted((turn, copy) for copy, quota in enumerate(quotas) for turn in range(quota))
    running = [_Recorder() for _ in quotas]
    played = [0 for _ in quotas]
    finished: dict[tuple[int, int], Episode] = {}

    if seed is not None:
        venv.seed(seed)
    observations: Any = venv.reset()
    starts = np.ones(venv.num_envs, dtype=bool)
    while order:
        actions = act(observations, starts)
        following, rewards, starts, infos = venv.step(actions)
        for copy, recorder in enumerate(running):
            if played[copy] == quotas[copy]:
                continue
            reward = infos[copy].get("env_reward", rewards[copy])
            recorder.add(_row(observations, copy), np.array(actions[copy]), float(reward))
            if len(recorder) > LONGEST_EPISODE:
                raise ValueError(
                    f"an episode has not ended after {LONGEST_EPISODE:,} steps: give the environment a time limit, "
                    f"such as gym.make(..., max_episode_steps=1000)"
                )
            if starts[copy]:
                finished[played[copy], copy] = recorder.episode(infos[copy])
                running[copy] = _Recorder()
                played[copy] += 1
        observations = following
        while order and order[0] in finished:
            yield finished.pop(order.pop(0))


class _Recorder:
    """The episode that runs in one copy of the environment."""

    def __init__(self) -> None:
        self._observations: list[Any] = []
        self._actions: list[Array] = []
        self._rewards: list[float] = []

    def __len__(self) -> int:
        return len(self._actions)

    def add(self, observation: Any, action: Array, reward: float) -> None:
        self._observations.append(observation)
        self._actions.append(action)
        self._rewards.append(reward)

    def episode(self, last_info: dict[str, Any]) -> Episode:
        def as_before(last: Any, before: Array) -> Array:
            return np.asarray(last, dtype=before.dtype)

        last = map_observations(as_before, last_info["terminal_observation"], self._observations[-1])
        truncated = bool(last_info.get("TimeLimit.truncated", False))
        return Episode(
            observations=map_observations(lambda *rows: np.stack(rows), *self._observations, last),
            actions=np.stack(self._actions),
            rewards=np.array(self._rewards, dtype=np.float64),
            terminated=not truncated,
            truncated=truncated,
        )


def _row(observations: Any, index: int) -> Any:
    return map_observations(lambda rows: np.array(rows[index]), observations)


def policy_actor(model: Any, venv: VecEnv, *, deterministic: bool) -> Actor:
    """An SB3 algorithm or policy, with its recurrent state, its action masks and the observations that it knows.

    One that samples has `Exploration` of its own.

    These are normalised with the statistics of the `VecNormalize` around `venv`; where there is none, of the one around
    the algorithm's own environment, `model.get_env()`.

    Raises:
        TypeError: If the model predicts nothing.
        ValueError: If the environment's spaces are not those of the model's, whether in single or double precision.
    """
    if not callable(getattr(model, "predict", None)):
        raise TypeError(
            f"model: expected an SB3 algorithm or policy, got {type(model).__name__}, which has no predict()"
        )
    raw, lens = raw_vec_env(venv), _outermost_env(model, venv)
    _check_same("actions", raw.action_space, getattr(model, "action_space", raw.action_space))
    _check_same("observations", raw.observation_space, raw_vec_env(lens).observation_space)
    masked = _takes_masks(model, raw)
    exploration = None if deterministic else Exploration(model)
    state: Any = None

    def act(observations: Observations, starts: Array) -> Array:
        nonlocal state
        masks = {"action_masks": np.stack(raw.env_method("action_masks"))} if masked else {}
        with exploration.lent(starts) if exploration else nullcontext():
            actions, state = model.predict(
                policy_observations(lens, observations),
                state=state,
                episode_start=starts,
                deterministic=deterministic,
                **masks,
            )
        return np.asarray(actions)

    return act


def _outermost_env(model: Any, venv: VecEnv) -> VecEnv:
    """The environment whose wrappers turn raw observations into the policy's."""
    if is_vecenv_wrapped(venv, VecNormalize) or not hasattr(model, "get_env"):
        return venv
    trained_on: VecEnv | None = model.get_env()
    return venv if trained_on is None else trained_on


def _check_same(what: str, here: spaces.Space[Any], there: spaces.Space[Any]) -> None:
    if single_precision_space(here) != single_precision_space(there):
        raise ValueError(f"env: the model was made for {what} {there}, the environment has {here}")


def _takes_masks(model: Any, venv: VecEnv) -> bool:
    """Whether the model takes action masks and the environment has them, as `MaskablePPO` itself finds out."""
    if "action_masks" not in inspect.signature(model.predict).parameters:
        return False
    from sb3_contrib.common.maskable.utils import is_masking_supported

    return bool(is_masking_supported(venv))


def random_actor(venv: VecEnv, *, seed: int | None = None) -> Actor:
    """Random actions as the action space samples them; only valid ones where the environment has action masks."""
    raw = raw_vec_env(venv)
    # An environment's own generator has this seed: without the spawn key, actions and initial states would correlate.
    stream = np.random.SeedSequence(seed, spawn_key=(1,))
    generator = np.random.default_rng(stream)
    space = deepcopy(raw.action_space)
    space.seed(int(stream.generate_state(1)[0]))
    mask_sizes = _mask_sizes(space)
    # SB3 2.2 has no `has_attr`, and there a worker process that is asked for a missing attribute dies.
    masked = bool(mask_sizes) and hasattr(raw, "has_attr") and raw.has_attr("action_masks")

    def valid_action(mask: Array) -> Array:
        parts = np.split(np.ravel(mask), np.cumsum(mask_sizes)[:-1])
        picks = [generator.choice(np.flatnonzero(part)) for part in parts]
        return np.array(picks, dtype=space.dtype).reshape(space.shape or ())

    def act(observations: Observations, starts: Array) -> Array:
        if masked:
            return np.stack([valid_action(mask) for mask in raw.env_method("action_masks")])
        return np.stack([space.sample() for _ in starts])

    return act


def _mask_sizes(space: spaces.Space[Any]) -> list[int]:
    """How many entries of an action mask belong to each part of an action; empty where actions have no masks."""
    if isinstance(space, spaces.Discrete):
        return [int(space.n)]
    if isinstance(space, spaces.MultiDiscrete):
        return [int(n) for n in np.ravel(space.nvec)]
    if isinstance(space, spaces.MultiBinary):
        return [2] * int(np.prod(space.shape))
    return []


@contextmanager
def isolated_randomness(seed: int | None) -> Iterator[None]:
    """Seeds the global generators (torch, NumPy, `random`) for a block, after which they go on from where they were.

    A policy that samples draws from torch's: training then goes on as if the block had not been. `None` leaves them be.
    """
    if seed is None:
        yield
        return
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    n_devices = torch.cuda.device_count() if torch.cuda.is_initialized() else 0  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=range(n_devices)):
        try:
            # `torch.manual_seed` would seed other devices too, whose states are not put back.
            torch.default_generator.manual_seed(seed)
            if n_devices:
                torch.cuda.manual_seed_all(seed)
            np.random.seed(seed)  # noqa: NPY002
            random.seed(seed)
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)
