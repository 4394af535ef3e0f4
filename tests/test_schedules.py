"""Tests of scheduled numbers."""

from __future__ import annotations

import gymnasium as gym
import pytest
from stable_baselines3 import A2C

from sb3_gail.schedules import Scheduled, check_scheduled, geometric, progress_remaining, value_at


def test_a_number_stays_and_a_pair_is_walked_linearly_and_a_function_is_asked() -> None:
    assert value_at(0.3, 0.5) == 0.3
    assert [value_at((3.0, 1.0), remaining) for remaining in (1.0, 0.25, 0.0)] == [3.0, 1.5, 1.0]
    assert value_at(lambda remaining: 2 * remaining, 0.5) == 1.0


def test_a_geometric_one_changes_by_equal_factors() -> None:
    falling = geometric(4.0, 0.25)
    assert [falling(remaining) for remaining in (1.0, 0.75, 0.5, 0.25, 0.0)] == pytest.approx(
        [4.0, 2.0, 1.0, 0.5, 0.25]
    )
    assert geometric(1.0, 9.0)(0.5) == pytest.approx(3.0)


@pytest.mark.parametrize(("start", "end"), [(1.0, 0.0), (-1.0, 1.0), (float("inf"), 1.0)])
def test_a_geometric_one_never_gets_to_zero(start: float, end: float) -> None:
    with pytest.raises(ValueError, match="between positive numbers, got"):
        geometric(start, end)


@pytest.mark.parametrize(
    ("scheduled", "now"), [(0.0, 0), (1, 1), ((1.0, 0.0), 0.5), ([1.0, 0.0], 0.5), (lambda remaining: remaining, 0.5)]
)
def test_schedules_are_accepted(scheduled: Scheduled, now: float) -> None:
    check_scheduled("rate", scheduled)
    assert value_at(scheduled, 0.5) == now


@pytest.mark.parametrize(
    ("scheduled", "error", "message"),
    [
        ("x", TypeError, r"rate must be a number, a tuple \(start, end\) or a schedule, got 'x'"),
        (True, TypeError, "rate must be .* got True"),
        (None, TypeError, "rate must be .* got None"),
        ((1.0, "x"), TypeError, r"rate must be .* got \(1.0, 'x'\)"),
        ((1.0,), TypeError, r"rate must be .* got \(1.0,\)"),
        (-1.0, ValueError, "rate must be a finite number of at least 0, got -1.0"),
        ((1.0, float("nan")), ValueError, "rate must be a finite number of at least 0, got nan"),
    ],
)
def test_other_things_are_refused(scheduled: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        check_scheduled("rate", scheduled)


def test_progress_is_that_of_this_moment() -> None:
    model = A2C("MlpPolicy", gym.make("CartPole-v1"), n_steps=5)
    model.learn(20)
    assert progress_remaining(model) == 0.0
    model.num_timesteps = 15
    assert progress_remaining(model) == 0.25
    model.num_timesteps = 30
    assert progress_remaining(model) == 0.0
