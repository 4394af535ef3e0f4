"""From raw observations, which adversaries and demonstrations hold, to those that the policy sees."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import (
    VecEnv,
    VecEnvWrapper,
    VecExtractDictObs,
    VecFrameStack,
    VecNormalize,
    VecTransposeImage,
)

from sb3_gail.transitions import Observations, map_observations

_INVERTIBLE = (VecNormalize, VecTransposeImage)


def raw_vec_env(venv: VecEnv) -> VecEnv:
    """The vectorised environment inside all `VecNormalize` and `VecTransposeImage`: its observations are raw.

    Raises:
        ValueError: If a `VecFrameStack` or `VecExtractDictObs` lies outside one of those, so that raw observations
            are no longer the environment's own.
    """
    raw, layer = venv, venv
    while isinstance(layer, VecEnvWrapper):
        if isinstance(layer, _INVERTIBLE):
            blocking = _first_between(venv, layer, (VecFrameStack, VecExtractDictObs))
            if blocking is not None:
                raise ValueError(
                    f"{type(blocking).__name__} lies outside {type(layer).__name__}, so the policy's observations "
                    f"cannot be made from the environment's; put {type(blocking).__name__} inside"
                )
            raw = layer.venv
        layer = layer.venv
    return raw


def policy_observations(venv: VecEnv, raw: Observations) -> Any:
    """What the policy on `venv` sees of raw observations `[B, *obs]`: normalised and transposed as its wrappers do."""
    end = raw_vec_env(venv)
    layers: list[VecEnvWrapper] = []
    layer = venv
    while layer is not end and isinstance(layer, VecEnvWrapper):
        layers.append(layer)
        layer = layer.venv
    observations = map_observations(np.asarray, raw)
    for wrapper in reversed(layers):
        if isinstance(wrapper, VecNormalize):
            observations = wrapper.normalize_obs(observations)
        elif isinstance(wrapper, VecTransposeImage):
            observations = wrapper.transpose_observations(observations)
    return observations


def _first_between(outer: VecEnv, inner: VecEnv, kinds: tuple[type[VecEnvWrapper], ...]) -> VecEnvWrapper | None:
    layer = outer
    while layer is not inner and isinstance(layer, VecEnvWrapper):
        if isinstance(layer, kinds):
            return layer
        layer = layer.venv
    return None
