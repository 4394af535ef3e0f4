"""Prints how many environment steps per second GAIL and its learner make on each device that there is.

    python benchmarks/devices.py

On vectors: Hopper-v5 by the defaults of `sb3-gail train`, torch on one thread. On images: PPO's `CnnPolicy` and the
default discriminator, both with SB3's `NatureCNN`, on random pictures of the size of Atari's, torch on all threads. An
iteration of each in turn, medians.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import tyro
from gymnasium import spaces
from in_turn import iterations_in_turn
from main_path import WARM_UP
from rich.console import Console
from rich.table import Table
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

from sb3_gail import Demonstrations, Discriminator
from sb3_gail.callbacks import GAILCallback
from sb3_gail.runs.experiment import make_model, make_plain_model
from sb3_gail.runs.settings import TrainSettings
from sb3_gail.wrappers import GAILRewardVecWrapper

N_ENVS, N_STEPS = 8, 128
"""Of a rollout of images."""


@dataclass(frozen=True)
class Contender:
    """A learner to time.

    Attributes:
        name: What it is.
        model: The on-policy learner.
        callbacks: What it learns with.
    """

    name: str
    model: Any
    callbacks: Sequence[BaseCallback] = ()

    @property
    def rollout(self) -> int:
        """Environment steps of an iteration."""
        return int(self.model.n_steps * self.model.n_envs)

    def learn(self, iterations: int, timer: BaseCallback) -> None:
        """Trains with one more callback."""
        self.model.learn(iterations * self.rollout, callback=[*self.callbacks, timer])


class Pictures(gym.Env[Any, Any]):
    """Random pictures `[4, 84, 84]`, in episodes of 100 steps."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(0, 255, (4, 84, 84), np.uint8)
        self.action_space = spaces.Discrete(6)
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Shows the first picture."""
        super().reset(seed=seed)
        self._steps = 0
        return self._picture(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Shows the next."""
        self._steps += 1
        return self._picture(), 0.0, False, self._steps == 100, {}

    def _picture(self) -> Any:
        return self.np_random.integers(0, 256, self.observation_space.shape, np.uint8)


def main(iterations: int = 20) -> None:
    """Times both tasks on the CPU and, where torch sees one, on the GPU.

    Args:
        iterations: Rollouts of each learner, the first three of which are not timed.
    """
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    table = Table("what", *devices, title=f"Steps per second, {os.cpu_count()} cores")
    for threads, contenders in ((1, on_vectors), (os.cpu_count() or 1, on_images)):
        torch.set_num_threads(threads)
        each = [contender for device in devices for contender in contenders(device)]
        seconds = iterations_in_turn([partial(contender.learn, iterations) for contender in each])
        speeds = [
            f"{contender.rollout / statistics.median(taken[WARM_UP:]):,.0f}"
            for contender, taken in zip(each, seconds, strict=True)
        ]
        n = len(each) // len(devices)
        for i, contender in enumerate(each[:n]):
            table.add_row(contender.name, *speeds[i::n])
    Console().print(table)


def on_vectors(device: str) -> list[Contender]:
    """TRPO on Hopper-v5."""
    settings = TrainSettings(env="Hopper-v5", trajectories=4, subsample=20, vec_env="dummy", device=device)
    imitating, callbacks = make_model(settings)
    plain = make_plain_model(settings)
    return [Contender("GAIL, Hopper-v5", imitating, callbacks), Contender("TRPO, Hopper-v5", plain)]


def on_images(device: str) -> list[Contender]:
    """PPO on random pictures, the expert's among them."""
    demonstrations = random_pictures()
    discriminator = Discriminator.from_demonstrations(demonstrations, device=device)
    gail = GAILCallback(discriminator, demonstrations)
    bare = make_vec_env(Pictures, N_ENVS, seed=0)
    wrapped = GAILRewardVecWrapper(make_vec_env(Pictures, N_ENVS, seed=0), discriminator)
    imitating, plain = (PPO("CnnPolicy", venv, n_steps=N_STEPS, device=device, seed=0) for venv in (wrapped, bare))
    return [Contender("GAIL, images", imitating, [gail]), Contender("PPO, images", plain)]


def random_pictures(n: int = 1000) -> Demonstrations:
    """Demonstrations that are as random as the environment."""
    env = Pictures()
    rng = np.random.default_rng(0)
    return Demonstrations.from_arrays(
        rng.integers(0, 256, (n + 1, 4, 84, 84), np.uint8),
        rng.integers(0, 6, n),
        lengths=[n],
        observation_space=env.observation_space,
        action_space=env.action_space,
    )


if __name__ == "__main__":
    tyro.cli(main)
