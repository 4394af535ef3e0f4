"""A run that takes a second, one that is killed, and an expert that is made up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from sb3_gail import Demonstrations

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


def kill_at_first_checkpoint(code: str, folder: Path) -> None:
    """Runs code that trains into a folder, in a process that is killed once there is something to resume from."""
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"})
    while not (folder / "checkpoint.zip").is_file() and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"


def made_up_expert(env_id: str, terminated: Sequence[bool], *, length: int = 100) -> Demonstrations:
    """Episodes of an environment that nobody played: noise and the first action, with the given ends."""
    space = gym.make(env_id).observation_space
    assert space.shape is not None
    n_episodes = len(terminated)
    noise = np.random.default_rng(0).uniform(-0.05, 0.05, size=(n_episodes * (length + 1), *space.shape))
    return Demonstrations.from_arrays(
        noise.astype(np.float32),
        np.zeros(n_episodes * length, np.int64),
        lengths=[length] * n_episodes,
        terminated=list(terminated),
        env_id=env_id,
    )
