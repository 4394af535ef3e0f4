"""A run that takes a second, and one that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
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


def kill_at_first_checkpoint(code: str, folder: Path) -> None:
    """Runs code that trains into a folder, in a process that is killed once there is something to resume from."""
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"})
    while not (folder / "checkpoint.zip").is_file() and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
