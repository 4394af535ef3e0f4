"""Batches whose features tests can write down, and a player against adversaries that weigh them."""

from __future__ import annotations

from typing import Any

import numpy as np

from sb3_gail import Transitions
from sb3_gail.adversaries import LinearAdversary
from sb3_gail.transitions import Array


def batch(rows: Any, actions: Any = None) -> Transitions:
    """Transitions with observations `[B, n]` that lead nowhere else."""
    observations = np.asarray(rows, np.float32)
    if actions is None:
        actions = np.zeros((len(observations), 1), np.float32)
    return Transitions(observations, np.asarray(actions), observations, np.zeros(len(observations), bool))


def raw(transitions: Transitions) -> Array:
    """Observations as they are."""
    return np.asarray(transitions.observations)


def fictitious_play(adversary: LinearAdversary, *, n_rounds: int = 300) -> tuple[Array, Array]:
    """Features of six actions: the expert's mean, and that of a player that answers each reward by its best action.

    Its policy is the mixture of all answers so far.
    """
    rng = np.random.default_rng(1)
    actions = rng.normal(size=(6, 3)).astype(np.float32)
    expert = batch(actions[[0, 0, 1, 2, 3, 3, 3, 5]])
    played = [4]
    for _ in range(n_rounds):
        adversary.update(batch(actions[played]), expert, progress_remaining=1.0)
        played.append(int(adversary.reward(batch(actions)).argmax()))
    return raw(expert).mean(axis=0), actions[played].mean(axis=0)
