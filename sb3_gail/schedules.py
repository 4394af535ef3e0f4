"""Numbers that change while a model learns."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real

from stable_baselines3.common.base_class import BaseAlgorithm

Scheduled = float | tuple[float, float] | Callable[[float], float]
"""A number; the numbers at the start and at the end, between which it changes linearly; or SB3's `Schedule`, a function
of the progress remaining (1 at the start, 0 at the end)."""


def value_at(scheduled: Scheduled, progress_remaining: float) -> float:
    """What a scheduled number is now, as Python's: a saved state must not hold NumPy's."""
    if callable(scheduled):
        return float(scheduled(progress_remaining))
    if isinstance(scheduled, (tuple, list)):
        start, end = scheduled
        return float(end + progress_remaining * (start - end))
    return float(scheduled)


def geometric(start: float, end: float) -> Callable[[float], float]:
    """A schedule that changes by the same factor in equal times: fast at first where it falls, slow at the end.

    Raises:
        ValueError: If a number is not positive.
    """
    if not (0 < start < float("inf") and 0 < end < float("inf")):
        raise ValueError(f"a geometric schedule goes between positive numbers, got {start!r} and {end!r}")
    return lambda progress_remaining: end * (start / end) ** progress_remaining


def check_scheduled(name: str, scheduled: object) -> None:
    """Raises unless it is a schedule whose numbers are finite and at least 0; a function's are not looked at.

    Raises:
        TypeError: If it is something else.
        ValueError: If a number is out of range.
    """
    if callable(scheduled):
        return
    is_pair = isinstance(scheduled, (tuple, list)) and len(scheduled) == 2  # JSON's pairs are lists
    for number in scheduled if is_pair else (scheduled,):  # type: ignore[attr-defined]  # a pair has items
        if not isinstance(number, Real) or isinstance(number, bool):
            raise TypeError(f"{name} must be a number, a tuple (start, end) or a schedule, got {scheduled!r}")
        if not 0 <= float(number) < float("inf"):
            raise ValueError(f"{name} must be a finite number of at least 0, got {number!r}")


def progress_remaining(model: BaseAlgorithm) -> float:
    """How much of `learn()` is left at this moment, from 1 to 0; SB3's own figure is a rollout old at its end."""
    return max(0.0, 1.0 - model.num_timesteps / model._total_timesteps)
