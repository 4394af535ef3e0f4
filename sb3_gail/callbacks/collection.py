"""How a callback reaches the reward wrapper, wherever it sits: around all environments or inside each of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.vec_env import (
    VecEnv,
    VecEnvWrapper,
    VecExtractDictObs,
    VecFrameStack,
    VecNormalize,
    VecTransposeImage,
)

from sb3_gail.adversaries.base import Adversary
from sb3_gail.transitions import Transitions
from sb3_gail.wrappers.reward import GAILRewardWrapper, stack_transitions
from sb3_gail.wrappers.vec_reward import GAILRewardVecWrapper


class Collection(ABC):
    """The transitions that cross the reward wrapper while a rollout is collected."""

    spaces: tuple[gym.Space[Any], gym.Space[Any]]
    """Observation and action space of what crosses the wrapper."""

    @abstractmethod
    def start(self, n_steps: int) -> None:
        """Asks for `n_steps` unscored steps of every environment; 0 makes the wrapper score again."""

    def step(self, infos: Sequence[Mapping[str, Any]]) -> None:  # noqa: B027
        """Takes what a step's infos carry."""

    @abstractmethod
    def transitions(self) -> Transitions:
        """What was collected since `start`, step by step, `[T * n_envs]`."""

    @abstractmethod
    def send_state(self, adversary: Adversary) -> None:
        """Gives copies of the adversary in other processes its trained state."""


class _AroundAll(Collection):
    """One `GAILRewardVecWrapper`, in this process."""

    def __init__(self, wrapper: GAILRewardVecWrapper) -> None:
        self._wrapper = wrapper
        self.spaces = wrapper.observation_space, wrapper.action_space

    def start(self, n_steps: int) -> None:
        self._wrapper.skip_scoring(n_steps)

    def transitions(self) -> Transitions:
        return self._wrapper.collected()

    def send_state(self, adversary: Adversary) -> None:
        """There is nothing to send: the wrapper holds the adversary itself."""


class _InsideEach(Collection):
    """A `GAILRewardWrapper` in every environment, perhaps in worker processes."""

    def __init__(self, venv: VecEnv) -> None:
        self._venv = venv
        self._rows: list[tuple[Any, Any, Any, bool]] = []
        self.spaces = venv.env_method("transition_spaces", indices=[0])[0]

    def start(self, n_steps: int) -> None:
        self._rows = []
        self._venv.env_method("skip_scoring", n_steps)

    def step(self, infos: Sequence[Mapping[str, Any]]) -> None:
        self._rows.extend(info["transition"] for info in infos)

    def transitions(self) -> Transitions:
        return stack_transitions(self._rows)

    def send_state(self, adversary: Adversary) -> None:
        self._venv.env_method("load_adversary_state", adversary.state_dict())


_ANOTHER = "expected the reward wrapper to hold the callback's adversary, got another one; give the same object to both"

_WRAPPERS = (gym.wrappers.TimeLimit, gym.wrappers.NormalizeReward)


class _ChangesInterface(type):
    """Recognises wrappers that lie outside a `GAILRewardWrapper` and change what it saw, paid or took for an episode.

    `VecEnv.env_is_wrapped` asks `isinstance` of each wrapper, from the outermost inwards and in the process where it
    lives; this is the one question about their order that it can carry there.
    """

    def __instancecheck__(cls, env: Any) -> bool:
        kinds = (gym.ActionWrapper, gym.ObservationWrapper, gym.RewardWrapper, *_WRAPPERS)
        return isinstance(env, kinds) and is_wrapped(env.env, GAILRewardWrapper)


class _OutsideRewardWrapper(gym.Wrapper[Any, Any, Any, Any], metaclass=_ChangesInterface):
    pass


def find_spec(venv: VecEnv) -> EnvSpec | None:
    """The registration of the model's environment, if it has one and lives in this process."""
    envs = getattr(venv.unwrapped, "envs", None)
    spec: EnvSpec | None = getattr(envs[0] if envs else venv.unwrapped, "spec", None)
    return spec


def find_collection(venv: VecEnv, adversary: Adversary) -> Collection:
    """The reward wrapper of an SB3 model's environment.

    Raises:
        ValueError: If there is none, if it rewards with another adversary, or if what lies outside it changes the
            observations or actions that the demonstrations were recorded with.
    """
    outside: list[VecEnvWrapper] = []
    layer = venv
    while isinstance(layer, VecEnvWrapper) and not isinstance(layer, GAILRewardVecWrapper):
        outside.append(layer)
        layer = layer.venv
    for wrapper in outside:
        _check_outside(wrapper)
    if isinstance(layer, GAILRewardVecWrapper):
        if layer.adversary is not adversary:
            raise ValueError(_ANOTHER)
        return _AroundAll(layer)
    if not all(layer.env_is_wrapped(GAILRewardWrapper)):
        raise ValueError(
            "expected the model's environment to have a reward wrapper, got none; make it with "
            "GAILRewardWrapper(env, discriminator) or GAILRewardVecWrapper(venv, discriminator)"
        )
    if any(layer.env_is_wrapped(_OutsideRewardWrapper)):
        raise ValueError(
            "expected GAILRewardWrapper outside all action, observation and reward wrappers and time limits, got one "
            "outside it, so that what the adversary sees is not what the policy does; wrap with GAILRewardWrapper last"
        )
    collection = _InsideEach(layer)
    if collection.spaces != (layer.observation_space, layer.action_space):
        raise ValueError(
            f"expected GAILRewardWrapper outside all wrappers that change spaces, got {collection.spaces} inside it "
            f"and {(layer.observation_space, layer.action_space)} outside; wrap with GAILRewardWrapper last"
        )
    if set(layer.env_method("adversary_identity")) != {adversary.identity}:
        raise ValueError(_ANOTHER)
    return collection


def _check_outside(wrapper: VecEnvWrapper) -> None:
    if isinstance(wrapper, (VecNormalize, VecTransposeImage)):
        return
    same_spaces = (wrapper.observation_space, wrapper.action_space) == (
        wrapper.venv.observation_space,
        wrapper.venv.action_space,
    )
    if isinstance(wrapper, (VecFrameStack, VecExtractDictObs)) or not same_spaces:
        raise ValueError(
            f"expected no wrapper that changes observations or actions outside the reward wrapper (VecNormalize and "
            f"VecTransposeImage apart), got {type(wrapper).__name__}; put it inside, so that demonstrations and policy "
            f"are seen alike"
        )
