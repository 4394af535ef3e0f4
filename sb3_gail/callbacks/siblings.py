"""Which callbacks a callback has beside it."""

from __future__ import annotations

from stable_baselines3.common.callbacks import BaseCallback, CallbackList


def siblings(callback: BaseCallback) -> list[BaseCallback]:
    """All callbacks of the `learn()` that has just begun, itself among them, in the order in which they are called."""
    return _flat(callback.locals["callback"])


def _flat(callback: BaseCallback) -> list[BaseCallback]:
    if not isinstance(callback, CallbackList):
        return [callback]
    return [each for part in callback.callbacks for each in _flat(part)]
