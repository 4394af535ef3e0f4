"""EnvPool's environments, which are stepped by threads outside Python, as an SB3 `VecEnv`."""

from __future__ import annotations

import importlib
import time
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from sb3_gail.spaces import single_precision_space
from sb3_gail.transitions import Array

_NO_LIMIT = 2**31 - 1
"""The most steps that EnvPool can count."""

_OTHERWISE = {"Blackjack-v1"}
"""Environments whose observations are others in EnvPool than in Gymnasium."""

_N_SEEDS = 2**31

_BOOKKEEPING = ("elapsed_step", "env_id")
"""What EnvPool's infos hold beside the environment's own."""

_OUR_SETTINGS = {
    "num_envs": "n_envs",
    "batch_size": "n_envs, all of which are stepped together,",
    "num_threads": "n_threads",
}
"""EnvPool's settings that would undo ours, and what to give instead."""


class EnvPoolVecEnv(VecEnv):
    """Copies of one of EnvPool's environments, with all that SB3 expects of a `VecEnv`.

    ```python
    env = GAILRewardVecWrapper(EnvPoolVecEnv("Hopper-v5", 32), discriminator)
    model = TRPO("MlpPolicy", VecNormalize(env, norm_reward=False), n_steps=64)
    ```

    It behaves as `make_vec_env` does: an environment whose episode ends is reset in the same step, its last observation
    is `info["terminal_observation"]`, `info["TimeLimit.truncated"]` says whether it ended by its time limit alone, and
    `info["episode"]` has its true return, as a `Monitor` in each copy would write it.

    Numbers are in single precision, MuJoCo's observations too, whose space Gymnasium declares in double precision. SB3
    refuses to `load` a model with an environment of the other width: there, wrap Gymnasium's in
    `gymnasium.wrappers.DtypeObservation(env, np.float32)`.

    Args:
        env_id: One of `envpool.list_all_envs()`.
        n_envs: How many copies.
        seed: Of the first reset; the copies have this seed and the following ones.
        n_threads: Threads that step the copies; 0 is one for each core.
        render_mode: `"rgb_array"` for images of the environments.
        settings: EnvPool's own settings of the environment, such as `max_episode_steps`.

    Raises:
        ImportError: If EnvPool is not installed.
        ValueError: If it has no such environment or setting, if its observations or actions are more than one array, or
            if `n_envs` is below 1.
    """

    def __init__(
        self,
        env_id: str,
        n_envs: int,
        *,
        seed: int = 0,
        n_threads: int = 0,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        if n_envs < 1:
            raise ValueError(f"n_envs: expected at least 1, got {n_envs}")
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode: expected None or 'rgb_array', got {render_mode!r}")
        for name, ours in _OUR_SETTINGS.items():
            if name in settings:
                raise ValueError(f"{name}: expected {ours} instead, got {settings[name]!r}")
        self._envpool = _import_envpool()
        spec = _make_spec(self._envpool, env_id, settings)
        # EnvPool truncates an episode that its environment ends at the very step of the limit: so we count ourselves.
        self._max_episode_steps = spec.config.max_episode_steps
        self._settings = {**settings, "num_threads": n_threads, "max_episode_steps": _NO_LIMIT}
        if render_mode is not None:
            self._settings["render_mode"] = render_mode
        self._env_id = env_id
        self._pool: Any = None
        self.render_mode = render_mode
        self.spec = _with_time_limit(gym.registry.get(env_id), self._max_episode_steps)
        """Gymnasium's, of the environment of the same name, with the time limit here; `None` if it has none."""
        super().__init__(n_envs, *_array_spaces(env_id, spec))
        self._actions: Array | None = None
        self._started = time.time()
        self._returns = np.zeros(n_envs)
        self._lengths = np.zeros(n_envs, dtype=np.int64)
        self.seed(seed)

    def reset(self) -> Array:
        """Resets all environments; after `seed`, to the same as ever with that seed.

        Returns:
            Observations `[n_envs, *obs]`.
        """
        if self._seeds[0] is not None:
            self._pool = self._make_pool()  # the only way to seed EnvPool
        observations, columns = self._running().reset()
        self._reset_seeds()
        self._actions = None
        self._returns[:] = 0
        self._lengths[:] = 0
        self.reset_infos = _rows(columns, self.num_envs)
        return self._cast(observations)

    def step_async(self, actions: Array) -> None:
        """Takes actions `[n_envs, *act]` for the step.

        Raises:
            ValueError: If they have another shape, which EnvPool would not notice.
        """
        actions = np.asarray(actions)
        expected = (self.num_envs, *(self.action_space.shape or ()))
        if actions.shape != expected:
            raise ValueError(f"actions: expected the shape {expected}, got {actions.shape}")
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Steps all environments and resets those whose episode ended.

        Raises:
            RuntimeError: If there has been no `reset` or `step_async` before it.
        """
        pool = self._running()
        if self._actions is None:
            raise RuntimeError("expected step_async() before step_wait()")
        raw_observations, rewards, terminated, truncated, columns = pool.step(self._actions)
        self._actions = None
        self._returns += rewards
        self._lengths += 1
        truncated = ~terminated & (truncated | (self._lengths >= self._max_episode_steps))
        dones = terminated | truncated
        observations = self._cast(raw_observations)
        infos = _rows(columns, self.num_envs)
        for info, by_limit in zip(infos, truncated.tolist(), strict=True):
            info["TimeLimit.truncated"] = by_limit
        ended = np.flatnonzero(dones)
        if ended.size:
            self._start_over(ended, observations, infos)
        return observations, rewards.astype(np.float32), dones, infos

    def _start_over(self, ended: Array, observations: Array, infos: list[dict[str, Any]]) -> None:
        """Resets some environments now, where EnvPool would do it in place of their next step."""
        for index in ended.tolist():
            infos[index]["terminal_observation"] = observations[index].copy()
            infos[index]["episode"] = {
                "r": round(float(self._returns[index]), 6),
                "l": int(self._lengths[index]),
                "t": round(time.time() - self._started, 6),
            }
        self._returns[ended] = 0
        self._lengths[ended] = 0
        first_observations, columns = self._pool.reset(ended)
        indices = columns["env_id"]
        observations[indices] = self._cast(first_observations)
        for index, info in zip(indices.tolist(), _rows(columns, len(ended)), strict=True):
            self.reset_infos[index] = info

    def close(self) -> None:
        """Ends EnvPool's threads."""
        self._pool = None

    def set_options(self, options: list[dict[str, Any]] | dict[str, Any] | None = None) -> None:
        """There are none.

        Raises:
            ValueError: If some are given.
        """
        if options:
            raise ValueError(f"options: EnvPool's environments take none at a reset, got {options!r}")

    def get_images(self) -> list[Array | None]:
        """An image `[height, width, 3]` of each environment; none without a render mode."""
        if self.render_mode is None:
            return [None] * self.num_envs
        return list(self._running().render(np.arange(self.num_envs)))

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """One of `action_space`, `observation_space`, `render_mode` and `spec`, which all copies share.

        Raises:
            AttributeError: For all others: EnvPool's environments are no Python objects.
        """
        if attr_name not in ("action_space", "observation_space", "render_mode", "spec"):
            raise AttributeError(f"EnvPool's environments are no Python objects: they have no attribute {attr_name!r}")
        return [getattr(self, attr_name)] * len(self._chosen(indices))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Raises `AttributeError`: EnvPool's environments are no Python objects."""
        raise AttributeError(
            f"EnvPool's environments are no Python objects: their {attr_name!r} cannot be set; pass EnvPoolVecEnv what "
            "EnvPool has a setting for"
        )

    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any) -> list[Any]:
        """Raises `AttributeError`: EnvPool's environments are no Python objects."""
        raise AttributeError(f"EnvPool's environments are no Python objects: they have no method {method_name!r}")

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Any = None) -> list[bool]:
        """Whether copies have a wrapper: they do what a `Monitor` does, and no more."""
        return [issubclass(Monitor, wrapper_class)] * len(self._chosen(indices))

    def _make_pool(self) -> Any:
        seeds = [int(seed or 0) % _N_SEEDS for seed in self._seeds]
        pool = self._envpool.make(
            self._env_id, env_type="gymnasium", num_envs=self.num_envs, seed=seeds, **self._settings
        )
        with _numbers_cast():
            pool.observation_space  # noqa: B018  # which EnvPool makes when it is first needed, and keeps
        return pool

    def _running(self) -> Any:
        if self._pool is None:
            raise RuntimeError("expected seed() and reset() first: the environments have not begun, or are closed")
        return self._pool

    def _cast(self, observations: Array) -> Array:
        """A copy, which may be written to."""
        return np.array(observations, dtype=self.observation_space.dtype)

    def _chosen(self, indices: VecEnvIndices) -> list[int]:
        return list(self._get_indices(indices))


def envpool_has(env_id: str) -> bool:
    """Whether EnvPool is installed and can stand in for a Gymnasium environment.

    It cannot for one that somebody else registered in Gymnasium, whatever its name, or that is not the same in both.
    """
    if env_id in _OTHERWISE:
        return False
    registered = gym.registry.get(env_id)
    if registered is not None and not str(registered.entry_point).startswith("gymnasium.envs."):
        return False
    try:
        _array_spaces(env_id, _make_spec(_import_envpool(), env_id, {}))
    except (ImportError, ValueError):
        return False
    return True


def _with_time_limit(spec: EnvSpec | None, max_episode_steps: int) -> EnvSpec | None:
    limited = deepcopy(spec)
    if limited is not None:
        limited.max_episode_steps = max_episode_steps if max_episode_steps < _NO_LIMIT else None
    return limited


def _import_envpool() -> Any:
    try:
        # Importing it keeps the frames of all callers for good, with the models and environments in them: a thread has
        # no callers.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(importlib.import_module, "envpool").result()
    except ImportError as error:
        raise ImportError(f"EnvPool's environments need EnvPool ({error}): pip install 'sb3-gail[envpool]'") from error


def _make_spec(envpool: Any, env_id: str, settings: Mapping[str, Any]) -> Any:
    if env_id not in envpool.list_all_envs():
        raise ValueError(
            f"expected one of envpool.list_all_envs(), got {env_id!r}; Gymnasium's "
            f"environments are made by make_vec_env (--vec-env dummy)"
        )
    try:
        return envpool.make_spec(env_id, **settings)
    except (AssertionError, TypeError) as error:
        raise ValueError(f"EnvPool's {env_id} does not take these settings: {error}") from error


def _array_spaces(env_id: str, spec: Any) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
    with _numbers_cast():
        observation_space, action_space = spec.observation_space, spec.action_space
    for name, space in (("observations", observation_space), ("actions", action_space)):
        if not isinstance(space, (spaces.Box, spaces.Discrete)):
            raise ValueError(f"expected one array of {name}, EnvPool's {env_id} has {space}")
    return single_precision_space(observation_space), single_precision_space(action_space)


@contextmanager
def _numbers_cast() -> Iterator[None]:
    """Without Gymnasium's warnings about bounds that EnvPool gives it in double precision."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*precision lowered by casting")
        yield


def _rows(columns: Mapping[str, Any], n: int) -> list[dict[str, Any]]:
    """Infos `{name: [n, ...]}` as one dict each, numbers as Python's own."""
    kept = {
        name: column.tolist() if column.ndim == 1 else list(column)
        for name, column in columns.items()
        if name not in _BOOKKEEPING and isinstance(column, np.ndarray)
    }
    if not kept:
        return [{} for _ in range(n)]
    return [dict(zip(kept, values, strict=True)) for values in zip(*kept.values(), strict=True)]
