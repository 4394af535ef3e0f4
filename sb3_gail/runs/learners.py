"""The learners that have a name on the command line, with the settings we give them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from sb3_contrib import TRPO
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import VecEnv

from sb3_gail.adapters.envpool import EnvPoolVecEnv, envpool_has
from sb3_gail.demonstrations import Demonstrations
from sb3_gail.encoder import has_images
from sb3_gail.schedules import geometric

VecEnvKind = Literal["auto", "envpool", "dummy"]
"""What runs copies of an environment: EnvPool, or SB3's `DummyVecEnv`; `auto` is EnvPool where it has that one."""


@dataclass(frozen=True)
class TRPOSettings:
    """Arguments of sb3-contrib's `TRPO`; the learning rate is the critic's, and `target_kl` that of the start."""

    batch_size: int = 128
    gamma: float = 0.99
    gae_lambda: float = 0.95
    learning_rate: float = 1e-3
    n_critic_updates: int = 10
    target_kl: float = 0.04


@dataclass(frozen=True)
class PPOSettings:
    """Arguments of Stable-Baselines3's `PPO`."""

    batch_size: int = 64
    n_epochs: int = 10
    gamma: float = 0.99
    gae_lambda: float = 0.95
    learning_rate: float = 3e-4


@dataclass(frozen=True)
class A2CSettings:
    """Arguments of Stable-Baselines3's `A2C`."""

    n_steps: int = 5
    gamma: float = 0.99
    learning_rate: float = 7e-4


@dataclass(frozen=True)
class SACSettings:
    """Arguments of Stable-Baselines3's `SAC`: its own defaults, and a gradient step for each environment step."""

    gradient_steps: int = -1


_LEARNERS: dict[str, tuple[type[BaseAlgorithm], Any]] = {
    "trpo": (TRPO, TRPOSettings()),
    "ppo": (PPO, PPOSettings()),
    "a2c": (A2C, A2CSettings()),
    "sac": (SAC, SACSettings()),
}
ON_POLICY = ("trpo", "ppo", "a2c")
"""Those that can imitate."""

ROLLOUT = 2048
"""Steps in a rollout of TRPO and PPO, of all copies of the environment together."""

LONG_ROLLOUT = 16_384
"""The same where observations are long vectors: a policy with so many weights needs more steps to see where to go."""

LONG_OBSERVATION = 200
"""Vectors with more numbers than this are long."""

MANY, FEW = 32, 8
"""Copies of an environment to train on."""

FINAL_TARGET_KL = 0.05
"""The share of its first `target_kl` that TRPO ends with when it imitates."""

SMALLEST_INITIAL_DEVIATION = 0.1
"""Of an imitating policy's first actions, in halves of their range: an expert who hardly moves is explored, too."""

_OURS = ("policy", "env", "seed", "device", "verbose", "tensorboard_log", "_init_setup_model")
"""Arguments of the learners that we give them ourselves, or that would have no effect: a run has its own log."""


def learner_class(algorithm: str) -> type[BaseAlgorithm]:
    """The class of a named algorithm.

    Raises:
        ValueError: If there is none of that name.
    """
    if algorithm not in _LEARNERS:
        raise ValueError(f"algorithm must be one of {', '.join(_LEARNERS)}, got {algorithm!r}")
    return _LEARNERS[algorithm][0]


def learner_settings(algorithm: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Our settings of a named algorithm with some of them replaced.

    Raises:
        ValueError: If the algorithm, or an argument of it, does not exist, or text is given for a number.
    """
    parameters = inspect.signature(learner_class(algorithm)).parameters
    known = {name: parameter for name, parameter in parameters.items() if name not in _OURS}
    for name, value in overrides.items():
        if name not in known:
            raise ValueError(f"{algorithm} has no setting {name!r}; expected some of {', '.join(known)}")
        # What the class itself would find out while it trains, if at all.
        if isinstance(value, str) and not _may_be_text(known[name]):
            default, kind = known[name].default, known[name].annotation
            expected = f"of type {kind}" if default is None else f"a value such as {default!r}"
            raise ValueError(f"{algorithm}'s {name} must be {expected}, got {value!r}")
    return {**asdict(_LEARNERS[algorithm][1]), **overrides}


def _may_be_text(parameter: inspect.Parameter) -> bool:
    return not isinstance(parameter.default, int | float) and "str" in str(parameter.annotation)


def rollout_settings(algorithm: str, n_envs: int, observation_space: gym.Space[Any]) -> dict[str, int]:
    """The `n_steps` with which so many copies of an environment fill a rollout of a named algorithm.

    None for A2C, which learns from a few steps at a time, and SAC, which has no rollouts.
    """
    rollout = rollout_length(algorithm, observation_space)
    return {} if rollout is None else {"n_steps": max(1, rollout // n_envs)}


def rollout_length(algorithm: str, observation_space: gym.Space[Any]) -> int | None:
    """Steps of a rollout of a named algorithm, of all copies together; none of one that has no long rollouts."""
    if algorithm not in ("trpo", "ppo"):
        return None
    is_long = is_normalised(observation_space) and spaces.flatdim(observation_space) > LONG_OBSERVATION
    return LONG_ROLLOUT if is_long else ROLLOUT


def make_learner(algorithm: str, venv: VecEnv, settings: Mapping[str, Any], *, seed: int, device: str) -> BaseAlgorithm:
    """A fresh learner on an environment, with the kind of policy that its observations ask for.

    Args:
        algorithm: Its name.
        venv: What it trains on.
        settings: All arguments that `learner_settings` gave.
        seed: Seeds the learner and the environment.
        device: As SB3's.

    Raises:
        ValueError: If the class refuses the settings, or the environment.
    """
    policy = _policy_name(venv.observation_space)
    learner: Any = learner_class(algorithm)
    try:
        made: BaseAlgorithm = learner(policy, venv, seed=seed, device=device, **settings)
    except (
        AssertionError,
        AttributeError,
        NotImplementedError,
        RuntimeError,
        TypeError,
        ValueError,
        ZeroDivisionError,
    ) as error:
        given = ", ".join(f"{name}={value!r}" for name, value in settings.items())
        raise ValueError(
            f"expected settings and an environment that {algorithm} can learn with, got {given}: {error}"
        ) from error
    return made


def imitating_policy(demonstrations: Demonstrations) -> dict[str, Any]:
    """A learner's `policy_kwargs` for imitation.

    First actions deviate as much as the expert's do. SB3's deviate by 1, which is more than many experts' do: the trust
    region has to shrink it in small steps, and until then the noise alone tells policy from expert. Actions that are
    all the same say nothing about it: they may stand in for ones that nobody recorded.

    On images actor and critic have a features extractor each: one that they share is not TRPO's critic's to train, and
    what the actor looks at hardly tells it which return to expect.
    """
    chosen: dict[str, Any] = {}
    expert = _expert_deviation(demonstrations)
    if expert:
        chosen["log_std_init"] = math.log(max(expert, _smallest_deviation(demonstrations.action_space)))
    if has_images(demonstrations.observation_space):
        chosen["share_features_extractor"] = False
    return {"policy_kwargs": chosen} if chosen else {}


def exploring_share(demonstrations: Demonstrations) -> float:
    """The share, 0 to 1, of an imitating policy's first deviation that is not to be lost while it learns.

    It is what was added, in variance, to the deviation of an expert who hardly moves, so that it is explored. It tells
    policy from expert, and would be driven out; then nothing new is tried any more, such as from starts still lost.
    """
    expert, smallest = _expert_deviation(demonstrations), _smallest_deviation(demonstrations.action_space)
    return math.sqrt(1 - (expert / smallest) ** 2) if 0 < expert < smallest else 0.0


def _expert_deviation(demonstrations: Demonstrations) -> float:
    """How much the expert's actions deviate, over all their numbers; 0 where they are discrete, or all the same."""
    if not isinstance(demonstrations.action_space, spaces.Box):
        return 0.0
    actions = np.asarray(demonstrations.transitions().actions, dtype=np.float64)
    return float(np.sqrt(actions.var(axis=0).mean())) if np.ptp(actions, axis=0).any() else 0.0


def _smallest_deviation(space: gym.Space[Any]) -> float:
    """An imitating policy's, in the units of its actions."""
    if not isinstance(space, spaces.Box) or not space.is_bounded():
        return SMALLEST_INITIAL_DEVIATION
    return SMALLEST_INITIAL_DEVIATION * float(np.mean(space.high - space.low)) / 2


def falling_target_kl(target_kl: float) -> Callable[[float], float]:
    """The schedule of TRPO's `target_kl` when it imitates: large steps until it is there, and small ones soon after."""
    return geometric(target_kl, FINAL_TARGET_KL * target_kl)


def choose_vec_env(env_id: str, vec_env: VecEnvKind) -> Literal["envpool", "dummy"]:
    """What `auto` means here, for an environment; any other choice stays."""
    if vec_env == "auto":
        return "envpool" if envpool_has(env_id) else "dummy"
    return vec_env


def choose_n_envs(action_space: gym.Space[Any], *, episode_length: float | None = None) -> int:
    """How many copies of an environment to run if nothing is said: `MANY`, but `FEW` where these show whole episodes.

    Copies whose episodes are equally long stay in step. Where a rollout holds but a part of each episode, one shows the
    policy and its adversary nothing but beginnings, and the next nothing but ends. So there are few copies where
    actions are discrete, since most such episodes are short, and where a rollout of few holds whole demonstrated
    episodes and one of many does not. Longer ones go on in much the same way, and many copies are faster.

    Args:
        action_space: The environment's.
        episode_length: Steps of the demonstrated episodes, on average; `None` where there are none, or where a rollout
            is not one of `ROLLOUT` steps.
    """
    if not isinstance(action_space, spaces.Box):
        return FEW
    return FEW if episode_length is not None and ROLLOUT / MANY < episode_length <= ROLLOUT / FEW else MANY


def make_venv(env_id: str, *, n_envs: int, seed: int, vec_env: VecEnvKind = "dummy") -> VecEnv:
    """`n_envs` copies of an environment: in EnvPool's threads, or one after the other in this process.

    Raises:
        ImportError: If EnvPool is to be used and is not installed.
        ValueError: If there is no such environment, or what it needs is not installed.
    """
    if choose_vec_env(env_id, vec_env) == "envpool":
        return EnvPoolVecEnv(env_id, n_envs, seed=seed)
    try:
        return make_vec_env(env_id, n_envs=n_envs, seed=seed)
    except gym.error.DependencyNotInstalled as error:
        ours = "; pip install 'sb3-gail[mujoco]'" if "mujoco" in str(error).lower() else ""
        raise ValueError(f"{env_id} needs more than is installed: {error}{ours}") from error
    except gym.error.Error as error:
        raise ValueError(f"expected the id of a Gymnasium environment, got {env_id!r}: {error}") from error


def is_normalised(space: gym.Space[Any]) -> bool:
    """Whether we put `VecNormalize` around such observations: around vectors, not around images and choices."""
    return isinstance(space, spaces.Box) and not is_image_space(space)


def _policy_name(space: gym.Space[Any]) -> str:
    if isinstance(space, spaces.Dict):
        return "MultiInputPolicy"
    return "CnnPolicy" if is_image_space(space) else "MlpPolicy"
