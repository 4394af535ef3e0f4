"""Learners timed in turn, on an environment whose steps are noted."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import groupby
from typing import Any

import gymnasium as gym
import pytest
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import BaseCallback

for needed in ("tyro", "scipy"):
    pytest.importorskip(needed)

import main_path  # noqa: E402
from in_turn import iterations_in_turn  # noqa: E402

from sb3_gail.runs.settings import TrainSettings  # noqa: E402

N_STEPS, ITERATIONS = 4, 3


class Noting(gym.Wrapper[Any, Any, Any, Any]):
    """Writes down who steps, and takes its time."""

    def __init__(self, name: str, notes: list[str], seconds: float) -> None:
        super().__init__(gym.make("CartPole-v1"))
        self.name, self.notes, self.seconds = name, notes, seconds

    def step(self, action: Any) -> Any:
        self.notes.append(self.name)
        time.sleep(self.seconds)
        return super().step(action)


def learner(name: str, notes: list[str], seconds: float = 0.0) -> Callable[[BaseCallback], object]:
    model = A2C("MlpPolicy", Noting(name, notes, seconds), n_steps=N_STEPS)
    return lambda timer: model.learn(ITERATIONS * N_STEPS, callback=timer)


def test_an_iteration_of_each_in_turn() -> None:
    notes: list[str] = []
    iterations_in_turn([learner("a", notes), learner("b", notes), learner("c", notes)])
    turns = [(name, len(list(steps))) for name, steps in groupby(notes)]
    assert turns == [(name, N_STEPS) for _ in range(ITERATIONS) for name in "abc"]


def test_only_the_own_seconds_count() -> None:
    slow, fast = iterations_in_turn([learner("slow", [], seconds=0.05), learner("fast", [])])
    assert len(slow) == len(fast) == ITERATIONS
    assert min(slow) >= N_STEPS * 0.05
    assert sorted(fast)[1] < N_STEPS * 0.05


def test_no_learner_waits_for_one_that_failed() -> None:
    def fail(timer: BaseCallback) -> object:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        iterations_in_turn([learner("a", []), fail])


def test_gail_is_timed_beside_its_learner() -> None:
    what, _, measured = main_path.time_row(TrainSettings(env="CartPole-v1", vec_env="dummy"), timesteps=8 * 2048)
    assert "CartPole-v1, dummy" in what
    ratio, low, high = (float(word.strip("()")) for word in measured.split() if word.strip("()")[0] in "012")
    assert 0 < low <= ratio <= high
