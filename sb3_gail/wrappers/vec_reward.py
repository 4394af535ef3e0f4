"""The reward wrapper for SB3's vectorised environments."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecMonitor, VecNormalize, VecTransposeImage
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from sb3_gail.adversaries.base import Adversary
from sb3_gail.transitions import Array, Transitions, map_observations, single_precision
from sb3_gail.wrappers.reward import NO_RELABELLING, GAILRewardWrapper, check_adversary


class GAILRewardVecWrapper(VecMonitor):
    """Pays an adversary's reward instead of the environments', scoring all of them at once.

    ```python
    env = GAILRewardVecWrapper(make_vec_env("Hopper-v5", 8), discriminator)
    env = VecNormalize(env, norm_reward=False)  # VecNormalize belongs outside
    ```

    As `GAILRewardWrapper`: environments' own rewards are in `info["env_reward"]`, `info["episode"]` is the true return,
    and while a `GAILCallback` collects, steps pay 0 and their transitions are kept for it.

    Args:
        venv: The environments; action and observation wrappers, and frame stacks, belong inside.
        adversary: What rewards.

    Raises:
        TypeError: If `adversary` is not an `Adversary`.
        ValueError: If `venv` pays an adversary's reward already, or normalises or transposes images inside.
    """

    def __init__(self, venv: VecEnv, adversary: Adversary) -> None:
        if not isinstance(venv, VecEnv):
            raise TypeError(
                f"venv must be one of SB3's vectorised environments, got {type(venv).__name__}; around a single "
                f"Gymnasium environment belongs GAILRewardWrapper"
            )
        check_adversary(adversary)
        _check_inside(venv)
        adversary.check_spaces(venv.observation_space, venv.action_space)
        with warnings.catch_warnings():  # a Monitor inside is welcome: both record the true return, and we keep its own
            warnings.filterwarnings("ignore", message="The environment is already wrapped with a `Monitor`")
            super().__init__(venv)
        self.adversary = adversary
        self._has_monitors = all(venv.env_is_wrapped(Monitor))
        self._unscored_steps = 0
        self._actions: Array = np.empty(0)
        self._observations: Any = None
        self._rollout = _Rollout()

    def reset(self) -> VecEnvObs:
        """Resets all environments and ends the unscored steps."""
        self._unscored_steps = 0
        observations = super().reset()
        self._observations = map_observations(np.array, observations)
        return observations

    def step_async(self, actions: Array) -> None:
        """Steps all environments."""
        self._actions = np.array(actions)
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Waits for the step and pays the learned reward, or 0 while a callback collects."""
        observations, env_rewards, dones, infos = self.venv.step_wait() if self._has_monitors else super().step_wait()
        for info, env_reward in zip(infos, env_rewards.tolist(), strict=True):
            info["env_reward"] = env_reward
            if "episode" in info:
                info["env_episode"] = info["episode"]  # which a Monitor outside does not overwrite
        previous, self._observations = self._observations, map_observations(np.array, observations)
        if self._unscored_steps > 0:
            self._unscored_steps -= 1
            self._rollout.add(previous, self._actions, self._observations, dones, infos)
            return observations, np.zeros(len(env_rewards), env_rewards.dtype), dones, infos
        step = _Rollout()
        step.add(previous, self._actions, self._observations, dones, infos)
        rewards = self.adversary.reward(step.transitions()).detach().cpu().numpy()
        return observations, rewards, dones, infos

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Calls a method of the environments, but not what pays their own reward for another goal.

        Raises:
            NotImplementedError: If SB3's `HerReplayBuffer` asks for `compute_reward`.
        """
        if method_name == "compute_reward":
            raise NotImplementedError(NO_RELABELLING)
        return super().env_method(method_name, *method_args, indices=indices, **method_kwargs)

    def skip_scoring(self, n_steps: int) -> None:
        """The next `n_steps` steps pay 0 and are kept for `collected`."""
        self._unscored_steps = n_steps
        self._rollout = _Rollout()

    def collected(self) -> Transitions:
        """The transitions of the unscored steps `[T * n_envs]`, step by step."""
        return self._rollout.transitions()


class _Rollout:
    """Transitions of some vectorised steps, each observation kept once."""

    def __init__(self) -> None:
        self._first: Any = None
        self._actions: list[Array] = []
        self._observations: list[Any] = []
        self._terminated: list[list[bool]] = []
        self._last_of_episode: list[tuple[int, Any]] = []

    def add(self, previous: Any, actions: Array, observations: Any, dones: Array, infos: list[dict[str, Any]]) -> None:
        """Adds one step `[n_envs]`; `observations` are those after the reset where an episode ended."""
        if self._first is None:
            self._first = previous
        terminated: list[bool] = dones.tolist()  # this is done at each step, and lists of eight are faster than arrays
        if True in terminated:
            for index, done in enumerate(terminated):
                if done:
                    row = len(self._actions) * len(terminated) + index
                    self._last_of_episode.append((row, infos[index]["terminal_observation"]))
                    terminated[index] = not infos[index].get("TimeLimit.truncated", False)
        self._actions.append(actions)
        self._observations.append(observations)
        self._terminated.append(terminated)

    def transitions(self) -> Transitions:
        observations = map_observations(_rows, self._first, *self._observations[:-1])
        next_observations = map_observations(_rows, *self._observations)
        for row, last in self._last_of_episode:
            map_observations(lambda rows, value, row=row: rows.__setitem__(row, value), next_observations, last)
        return Transitions(
            observations=observations,
            actions=np.concatenate(self._actions),
            next_observations=next_observations,
            terminated=np.concatenate(self._terminated, dtype=np.bool_),
        )


def _rows(*steps: Array) -> Array:
    """Steps `[n_envs, ...]` as rows `[T * n_envs, ...]`, cast once to single precision."""
    return single_precision(np.concatenate(steps))


def _check_inside(venv: VecEnv) -> None:
    layer = venv
    while isinstance(layer, VecEnvWrapper):
        if isinstance(layer, GAILRewardVecWrapper):
            raise ValueError(
                "expected environments without GAILRewardVecWrapper, got some that have it; wrap them once"
            )
        if isinstance(layer, VecNormalize):
            raise ValueError(
                "expected raw observations, got VecNormalize inside the reward wrapper, whose statistics move away "
                "from the demonstrations'; put it outside: VecNormalize(GAILRewardVecWrapper(venv, adversary))"
            )
        if isinstance(layer, VecTransposeImage):
            raise ValueError(
                "expected images as the environments show them, got VecTransposeImage inside the reward wrapper; leave "
                "it to SB3, which puts it outside where a policy needs it"
            )
        layer = layer.venv
    if any(venv.env_is_wrapped(GAILRewardWrapper)):
        raise ValueError("expected environments without GAILRewardWrapper, got some that have it; use one of the two")
    if any(venv.env_is_wrapped(gym.wrappers.NormalizeObservation)):
        raise ValueError(
            "expected raw observations, got environments with NormalizeObservation inside, whose statistics move away "
            "from the demonstrations'; use SB3's VecNormalize outside the reward wrapper"
        )
