"""Which callbacks a callback has beside it."""

from __future__ import annotations

from stable_baselines3.common.callbacks import BaseCallback, CallbackList


def siblings(callback: BaseCallback) -> list[BaseCallback]:
    """The callbacks in the list, or lists, of the `learn()` that has just begun, in the order in which they are called.

    Those inside SB3's event callbacks are not among them. A learner of another library may not tell; then there is none
    but itself.
    """
    return _flat(callback.locals.get("callback", callback))


def _flat(callback: BaseCallback) -> list[BaseCallback]:
    if not isinstance(callback, CallbackList):
        return [callback]
    return [each for part in callback.callbacks for each in _flat(part)]
