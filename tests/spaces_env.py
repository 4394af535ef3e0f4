"""An environment with any spaces, and demonstrations in it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from sb3_gail import Demonstrations


class SpacesEnv(gym.Env[Any, Any]):
    """Samples its observations and lasts five steps."""

    def __init__(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
        self.observation_space = observation_space
        self.action_space = action_space
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return self.observation_space.sample(), 0.0, self.steps == 5, False, {}

    def action_masks(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        return np.ones(getattr(self.action_space, "n", 1), dtype=bool)


VECTOR = spaces.Box(-1.0, 1.0, (3,), np.float32)
IMAGE = spaces.Box(0, 255, (36, 36, 3), np.uint8)
DICT = spaces.Dict({"vector": VECTOR, "image": IMAGE})
BOX = spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 1.0], np.float32))


def random_demonstrations(
    observation_space: spaces.Space[Any], action_space: spaces.Space[Any], *, n_steps: int = 20, seed: int = 0
) -> Demonstrations:
    """Two episodes of random observations and actions."""
    observation_space.seed(seed)
    action_space.seed(seed)
    rows = [observation_space.sample() for _ in range(n_steps + 2)]
    observations: Any = (
        {key: np.stack([row[key] for row in rows]) for key in rows[0]}
        if isinstance(observation_space, spaces.Dict)
        else np.stack(rows)
    )
    return Demonstrations.from_arrays(
        observations,
        np.stack([action_space.sample() for _ in range(n_steps)]),
        lengths=[n_steps // 2, n_steps - n_steps // 2],
        terminated=np.array([True, False]),
        observation_space=observation_space,
        action_space=action_space,
    )
