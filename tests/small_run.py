"""A run that takes a second."""

from __future__ import annotations

from typing import Any

SMALL: dict[str, Any] = {
    "total_timesteps": 1000,
    "n_envs": 4,
    "learner": {"n_steps": 64},
    "trajectories": 2,
    "subsample": 10,
    "eval_freq": 256,
    "n_eval_episodes": 2,
    "checkpoint_freq": 256,
}
STEPS = 1024
"""Where a run of 1000 steps ends, with rollouts of 4 x 64."""
