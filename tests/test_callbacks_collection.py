"""How the callback finds the reward wrapper, and the environments that it refuses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from scripted import (
    Pictured,
    Scripted,
    ScriptedAdversary,
    demonstrations_of,
    linear_reward,
    make_learner,
    normalised,
    transitions_of,
    wrapped_copies,
)
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecEnv,
    VecEnvWrapper,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)

from sb3_gail.callbacks import GAILCallback
from sb3_gail.callbacks.collection import find_collection
from sb3_gail.wrappers import GAILRewardVecWrapper, GAILRewardWrapper


class Doubling(gym.ActionWrapper[Any, Any, Any]):
    """The same action space, other actions."""

    def action(self, action: Any) -> Any:
        return 2 * action


class Shifting(gym.ObservationWrapper[Any, Any, Any]):
    """The same observation space, other observations."""

    def observation(self, observation: Any) -> Any:
        return observation + 1


class Paying(gym.RewardWrapper[Any, Any]):
    def reward(self, reward: Any) -> float:
        return float(reward) + 1.0


class Widening(gym.Wrapper[Any, Any, Any, Any]):
    """Another space, though neither an action nor an observation wrapper, like Gymnasium's own frame stack."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (8,), np.float64)


OUTSIDE: dict[str, tuple[Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]], str]] = {
    "RescaleAction": (
        lambda env: gym.wrappers.RescaleAction(env, np.float32(-1), np.float32(1)),
        "expected GAILRewardWrapper outside all action",
    ),
    "action": (Doubling, "expected GAILRewardWrapper outside all action"),
    "observation": (Shifting, "expected GAILRewardWrapper outside all action"),
    "reward": (Paying, "expected GAILRewardWrapper outside all action"),
    "TimeLimit": (lambda env: gym.wrappers.TimeLimit(env, 5), "expected GAILRewardWrapper outside all action"),
    "deep": (
        lambda env: gym.wrappers.RecordEpisodeStatistics(Doubling(gym.wrappers.RecordEpisodeStatistics(env))),
        "expected GAILRewardWrapper outside all action",
    ),
    "spaces": (Widening, "expected GAILRewardWrapper outside all wrappers that change spaces, got"),
}


@pytest.mark.parametrize("backend", ["dummy", "subproc"])
@pytest.mark.parametrize("name", OUTSIDE)
def test_wrappers_outside_the_gymnasium_wrapper_are_refused(name: str, backend: str) -> None:
    adversary = ScriptedAdversary()
    wrap, message = OUTSIDE[name]

    def make() -> gym.Env[Any, Any]:
        return wrap(GAILRewardWrapper(Scripted(), adversary))

    venv = DummyVecEnv([make]) if backend == "dummy" else SubprocVecEnv([make], start_method="fork")
    try:
        with pytest.raises(ValueError, match=message):
            find_collection(venv, adversary)
    finally:
        venv.close()


@pytest.mark.parametrize("name", ["RescaleAction", "action", "observation", "reward", "TimeLimit", "spaces"])
def test_the_same_wrappers_inside_are_welcome(name: str) -> None:
    adversary = ScriptedAdversary()
    wrap, _ = OUTSIDE[name]
    collection = find_collection(DummyVecEnv([lambda: GAILRewardWrapper(wrap(Scripted()), adversary)]), adversary)
    expected = wrap(Scripted())
    assert collection.spaces == (expected.observation_space, expected.action_space)


@pytest.mark.parametrize("wrapper", ["gym", "vec"])
@pytest.mark.parametrize("backend", ["dummy", "subproc"])
def test_another_adversary_in_the_wrapper_is_refused(wrapper: str, backend: str) -> None:
    with (
        wrapped_copies(ScriptedAdversary(), wrapper=wrapper, backend=backend) as venv,
        pytest.raises(ValueError, match=r"the callback's adversary, got another one; give the same object to both"),
    ):
        find_collection(venv, ScriptedAdversary())


def test_a_copy_of_the_adversary_around_all_is_refused() -> None:
    adversary = ScriptedAdversary()
    with (
        wrapped_copies(adversary, wrapper="vec") as venv,
        pytest.raises(ValueError, match=r"the callback's adversary, got another one"),
    ):
        find_collection(venv, copy.deepcopy(adversary))


def test_another_adversary_in_one_of_the_copies_is_refused() -> None:
    adversary = ScriptedAdversary()
    venv = DummyVecEnv([lambda a=a: GAILRewardWrapper(Scripted(), a) for a in (adversary, ScriptedAdversary())])  # type: ignore[misc]
    with pytest.raises(ValueError, match="got another one"):
        find_collection(venv, adversary)


@pytest.mark.parametrize("backend", ["dummy", "subproc"])
@pytest.mark.parametrize("wrapped", [0, 1])
def test_environments_without_the_wrapper_are_refused(backend: str, wrapped: int) -> None:
    adversary = ScriptedAdversary()
    makers: list[Callable[[], gym.Env[Any, Any]]] = [lambda: GAILRewardWrapper(Scripted(), adversary)] * wrapped
    makers.append(Scripted)
    venv: VecEnv = DummyVecEnv(makers) if backend == "dummy" else SubprocVecEnv(makers, start_method="fork")
    try:
        for outer in (venv, VecNormalize(venv)):
            with pytest.raises(
                ValueError, match=r"got none; make it with GAILRewardWrapper\(env, discriminator\) or GAIL"
            ):
                find_collection(outer, adversary)
    finally:
        venv.close()


class ClippedActions(VecEnvWrapper):
    """A vectorised action wrapper."""

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv, action_space=gym.spaces.Box(-0.25, 0.25, (2,), np.float32))

    def reset(self) -> Any:
        return self.venv.reset()

    def step_wait(self) -> Any:
        return self.venv.step_wait()


@pytest.mark.parametrize("wrapper", ["gym", "vec"])
@pytest.mark.parametrize(
    ("outer", "name"),
    [
        (lambda venv: VecFrameStack(venv, 2), "VecFrameStack"),
        (lambda venv: VecFrameStack(venv, 1), "VecFrameStack"),
        (lambda venv: VecNormalize(VecFrameStack(venv, 2)), "VecFrameStack"),
        (ClippedActions, "ClippedActions"),
    ],
)
def test_vectorised_wrappers_outside_are_refused(outer: Callable[[VecEnv], VecEnv], name: str, wrapper: str) -> None:
    adversary = ScriptedAdversary()
    with (
        wrapped_copies(adversary, wrapper=wrapper) as venv,
        pytest.raises(ValueError, match=rf"outside the reward wrapper .*, got {name}; put it inside"),
    ):
        find_collection(outer(venv), adversary)


@pytest.mark.parametrize("wrapper", ["gym", "vec"])
def test_what_sb3_puts_outside_is_welcome(wrapper: str) -> None:
    adversary = ScriptedAdversary()
    with wrapped_copies(adversary, wrapper=wrapper, kind=Pictured) as venv:
        for outer in (venv, VecTransposeImage(venv), VecNormalize(VecTransposeImage(venv), norm_obs=False)):
            collection = find_collection(outer, adversary)
            assert collection.spaces == (Pictured().observation_space, Pictured().action_space)
    with wrapped_copies(adversary, wrapper=wrapper) as venv:
        collection = find_collection(VecMonitor(normalised(venv)) if wrapper == "vec" else normalised(venv), adversary)
        assert collection.spaces == (venv.observation_space, venv.action_space)


def test_frames_stacked_inside_train() -> None:
    adversary = ScriptedAdversary()
    stacked = VecFrameStack(DummyVecEnv([Scripted, lambda: Scripted(1)]), 3)
    venv = GAILRewardVecWrapper(stacked, adversary)
    demonstrations = demonstrations_of(Widening12(Scripted()))
    make_learner("PPO", venv).learn(24, callback=GAILCallback(adversary, demonstrations))
    for batch in adversary.policy_batches:
        before, after = np.asarray(batch.observations), np.asarray(batch.next_observations)
        assert before.shape == (12, 12)
        np.testing.assert_array_equal(
            after[:, :8][before[:, 8] == after[:, 4]], before[:, 4:][before[:, 8] == after[:, 4]]
        )


class Widening12(gym.ObservationWrapper[Any, Any, Any]):
    """Three copies of each observation, so that the shape is that of a stack."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (12,), np.float64)

    def observation(self, observation: Any) -> Any:
        return np.tile(observation, 3)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().step(action)
        truth = info["truth"]
        info["truth"] = truth._replace(observation=self.observation(truth.observation), next_observation=observation)
        return observation, reward, terminated, truncated, info


@pytest.mark.parametrize("wrapper", ["gym", "vec"])
@pytest.mark.parametrize("backend", ["dummy", "subproc"])
def test_it_collects_what_it_was_asked_for_and_sends_the_state(wrapper: str, backend: str) -> None:
    adversary = ScriptedAdversary()
    with wrapped_copies(adversary, wrapper=wrapper, backend=backend, ends="both") as venv:
        collection = find_collection(venv, adversary)
        venv.reset()
        collection.start(4)
        truths = []
        for _ in range(4):
            _, rewards, _, infos = venv.step(np.full((2, 2), 0.1, np.float32))
            collection.step(infos)
            truths += [info["truth"] for info in infos]
            assert not rewards.any()
        batch, expected = collection.transitions(), transitions_of(truths)
        np.testing.assert_array_equal(batch.observations, np.asarray(expected.observations, np.float32))
        np.testing.assert_array_equal(batch.next_observations, np.asarray(expected.next_observations, np.float32))
        np.testing.assert_array_equal(batch.actions, expected.actions)
        np.testing.assert_array_equal(batch.terminated, expected.terminated)
        adversary.generation = 6
        collection.start(5)
        collection.start(0)
        collection.send_state(adversary)
        _, rewards, _, infos = venv.step(np.zeros((2, 2), np.float32))
        np.testing.assert_allclose(
            rewards, linear_reward(transitions_of([info["truth"] for info in infos]), 6), rtol=1e-5
        )


def test_refusals_reach_the_user_before_training_starts() -> None:
    adversary = ScriptedAdversary()
    gail = GAILCallback(adversary, demonstrations_of(Scripted()))
    model = make_learner("PPO", DummyVecEnv([Scripted]))
    with pytest.raises(ValueError, match="expected the model's environment to have a reward wrapper, got none"):
        model.learn(12, callback=gail)
    assert model.num_timesteps == 0
