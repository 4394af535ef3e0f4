"""From the environment's observations to the policy's, through SB3's wrappers."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecEnv,
    VecExtractDictObs,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)

from sb3_gail.raw_observations import policy_observations, raw_vec_env

VECTOR = spaces.Box(-np.inf, np.inf, (3,), np.float32)
IMAGE = spaces.Box(0, 255, (36, 40, 3), np.uint8)


class Sampling(gym.Env[Any, Any]):
    """Observes samples of its space."""

    action_space = spaces.Discrete(2)

    def __init__(self, observation_space: spaces.Space[Any]) -> None:
        self.observation_space = observation_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        return self.observation_space.sample(), 0.0, False, False, {}


def sampling(space: spaces.Space[Any]) -> DummyVecEnv:
    return DummyVecEnv([lambda: Sampling(space)] * 2)


def normalised(venv: VecEnv, **settings: Any) -> VecNormalize:
    """A `VecNormalize` with statistics of some steps."""
    wrapper = VecNormalize(venv, **settings)
    wrapper.reset()
    for _ in range(20):
        wrapper.step(np.zeros(2, int))
    return wrapper


def test_nothing_to_undo() -> None:
    venv = sampling(VECTOR)
    monitored = VecMonitor(venv)
    assert raw_vec_env(venv) is venv
    assert raw_vec_env(monitored) is monitored
    raw = venv.reset()
    assert isinstance(raw, np.ndarray)
    np.testing.assert_array_equal(policy_observations(monitored, raw), raw)


def test_normalisation_is_what_the_wrapper_itself_does() -> None:
    inner = VecMonitor(sampling(VECTOR))
    venv = VecMonitor(normalised(inner))
    assert raw_vec_env(venv) is inner
    wrapper = venv.venv
    assert isinstance(wrapper, VecNormalize)
    seen, _, _, _ = wrapper.step(np.zeros(2, int))
    statistics = wrapper.obs_rms
    assert isinstance(statistics, RunningMeanStd)
    count = statistics.count
    np.testing.assert_array_equal(policy_observations(venv, wrapper.get_original_obs()), seen)
    assert statistics.count == count


def test_images_are_transposed_whatever_the_order_of_the_wrappers() -> None:
    inner = sampling(IMAGE)
    venv = VecNormalize(VecTransposeImage(inner), norm_obs=False)
    assert raw_vec_env(venv) is inner
    raw = inner.reset()
    assert isinstance(raw, np.ndarray)
    np.testing.assert_array_equal(policy_observations(venv, raw), np.moveaxis(raw, 3, 1))


def test_dict_observations() -> None:
    inner = sampling(spaces.Dict({"image": IMAGE, "vector": VECTOR}))
    venv = normalised(VecTransposeImage(inner), norm_obs_keys=["vector"])
    raw = inner.reset()
    assert isinstance(raw, dict)
    seen = policy_observations(venv, raw)
    np.testing.assert_array_equal(seen["image"], np.moveaxis(raw["image"], 3, 1))
    assert isinstance(venv.obs_rms, dict)
    statistics = venv.obs_rms["vector"]
    expected = (raw["vector"] - statistics.mean) / np.sqrt(statistics.var + venv.epsilon)
    np.testing.assert_allclose(seen["vector"], np.clip(expected, -10, 10), rtol=1e-5)


def test_stacked_frames_inside_are_the_raw_ones() -> None:
    inner = VecFrameStack(sampling(VECTOR), 2)
    assert raw_vec_env(normalised(inner)) is inner


@pytest.mark.parametrize("kind", [VecFrameStack, VecExtractDictObs])
def test_observation_wrappers_outside_normalisation_are_refused(kind: type[Any]) -> None:
    if kind is VecFrameStack:
        venv: VecEnv = VecFrameStack(VecNormalize(sampling(VECTOR)), 2)
    else:
        venv = VecExtractDictObs(VecNormalize(sampling(spaces.Dict({"vector": VECTOR}))), "vector")
    with pytest.raises(ValueError, match=f"{kind.__name__} lies outside VecNormalize"):
        raw_vec_env(venv)
