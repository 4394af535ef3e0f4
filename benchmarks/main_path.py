"""Runs what `make bench` promises and prints each figure beside the one to reach.

    python benchmarks/main_path.py --demonstrations demonstrations --results runs/main_path

`demonstrations` is a folder of `<env>.npz`. Learning runs are jobs, two at a time, that go on where they stopped; the
timings come last and have the machine to themselves.
"""

from __future__ import annotations

import math
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tyro
from in_turn import iterations_in_turn
from rich.console import Console
from rich.table import Table
from scipy.stats import bootstrap
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from sb3_gail import Discriminator
from sb3_gail.adapters.envpool import envpool_has
from sb3_gail.data import shipped
from sb3_gail.demonstrations import Demonstrations
from sb3_gail.runs import Point, Run
from sb3_gail.runs.experiment import make_model, make_plain_model
from sb3_gail.runs.learners import VecEnvKind, make_venv
from sb3_gail.runs.settings import TrainSettings
from sb3_gail.wrappers import GAILRewardVecWrapper

SEEDS = (0, 1, 2)

WARM_UP = 3
"""Iterations that are not timed."""


@dataclass(frozen=True)
class Task:
    """A learning run on one environment and what it is to reach, for each seed."""

    env: str
    subsample: int
    total_timesteps: int
    score: float
    within: int
    eval_freq: int
    held: int
    shuffled: bool = False

    def command(self, seed: int, folder: Path, demonstrations: Path) -> list[str]:
        """How to run it, or to go on with it."""
        program = [sys.executable, "-m", "sb3_gail", "train"]
        if (folder / "settings.json").is_file():
            return [*program, "--resume", str(folder)]
        options = {
            "env": self.env,
            "demonstrations": demonstrations,
            "trajectories": 4,
            "subsample": self.subsample,
            "total-timesteps": self.total_timesteps,
            "eval-freq": self.eval_freq,
            "seed": seed,
            "vec-env": "dummy",
            "run-dir": folder,
        }
        flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        return [*program, *flags, *(["--shuffle-demonstrations"] if self.shuffled else [])]


TASKS = {
    "Hopper-v5": Task("Hopper-v5", 20, 600_000, 0.95, 300_000, 20_000, held=3),
    "Acrobot-v1": Task("Acrobot-v1", 5, 150_000, 0.95, 150_000, 10_000, held=1),
    "CartPole-v1": Task("CartPole-v1", 10, 60_000, 0.99, 60_000, 5_000, held=1),
    "CartPole-v1 shuffled": Task("CartPole-v1", 10, 60_000, 0.99, 60_000, 5_000, held=1, shuffled=True),
}


def main(
    results: Path = Path("runs/main_path"),
    demonstrations: Path | None = None,
    jobs: int = 2,
    parts: tuple[str, ...] = ("learning", "time", "wrapper", "memory"),
) -> None:
    """Runs the benchmarks of the main path.

    Args:
        results: Where the runs' folders are, old ones and new ones.
        demonstrations: A folder of `<env>.npz` files; by default what ships with the package, which lacks some.
        jobs: Learning runs at a time.
        parts: Which of `learning`, `time`, `wrapper`, `memory` to do.
    """
    torch.set_num_threads(1)
    table = Table("what", "to reach", "measured", title="The main path")
    measurements: dict[str, Callable[[], list[tuple[str, str, str]]]] = {
        "learning": lambda: learning_rows(results, demonstrations, jobs),
        "time": lambda: time_rows(demonstrations),
        "wrapper": lambda: [wrapper_row("Hopper-v5", 1.05), wrapper_row("CartPole-v1", 1.15)],
        "memory": lambda: [memory_row(demonstrations)],
    }
    for part in parts:
        for row in measurements[part]():
            table.add_row(*row)
    Console().print(table)


def demonstrations_file(env: str, folder: Path | None) -> Path:
    """The demonstrations of an environment.

    Raises:
        ValueError: If none ship for it, and no folder is given.
    """
    return shipped(env) if folder is None else folder / f"{env}.npz"


def has_demonstrations(env: str, folder: Path | None) -> bool:
    """Whether there are demonstrations of an environment."""
    try:
        return demonstrations_file(env, folder).is_file()
    except ValueError:
        return False


def learning_rows(results: Path, demonstrations: Path | None, jobs: int) -> list[tuple[str, str, str]]:
    """Runs every task that there are demonstrations of with every seed, and tells when each reached its score."""
    tasks = {name: task for name, task in TASKS.items() if has_demonstrations(task.env, demonstrations)}
    missing = [name for name in TASKS if name not in tasks]

    def run(job: tuple[str, int]) -> None:
        name, seed = job
        folder = results / f"{name.replace(' ', '-')}-{seed}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        task = tasks[name]
        with (results / f"{folder.name}.log").open("a") as log:
            subprocess.run(
                task.command(seed, folder, demonstrations_file(task.env, demonstrations)),
                stdout=log,
                stderr=subprocess.STDOUT,
                check=True,
            )

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(run, [(name, seed) for seed in SEEDS for name in tasks]))
    rows = [row for name, task in tasks.items() for row in task_rows(name, task, results)]
    return [*rows, *((name, "-", "not run: no demonstrations, see --demonstrations") for name in missing)]


def task_rows(name: str, task: Task, results: Path) -> list[tuple[str, str, str]]:
    """When each seed reached the score for good enough, and how it ended."""
    curves = [Run(results / f"{name.replace(' ', '-')}-{seed}").curve() for seed in SEEDS]
    held = f" over {task.held} evaluations" if task.held > 1 else ""
    reached = [first_held(curve, task.score, task.held) for curve in curves]
    last_five = [float(np.mean([point.score for point in curve[-5:]])) for curve in curves]
    return [
        (
            f"{name}: steps to score {task.score}{held}",
            f"<= {task.within:,} each seed",
            ", ".join("never" if steps is None else f"{steps:,}" for steps in reached),
        ),
        (
            f"{name}: mean of the last five evaluations of {task.total_timesteps:,} steps",
            ">= 0.9" if name == "Hopper-v5" else "-",
            ", ".join(f"{value:.2f}" for value in last_five),
        ),
    ]


def first_held(curve: Sequence[Point], score: float, n: int) -> int | None:
    """The steps at the first of `n` evaluations in a row that reach a score."""
    for start in range(len(curve) - n + 1):
        if all(point.score is not None and point.score >= score for point in curve[start : start + n]):
            return curve[start].timesteps
    return None


def each_and_median(arrivals: Sequence[float | None], form: str = ",.0f") -> tuple[str, str]:
    """What each seed took, and the median; one that never arrived took longer than all others."""
    numbers = [math.inf if at is None else at for at in arrivals]
    texts = [
        "never" if number == math.inf else format(number, form) for number in [*numbers, statistics.median(numbers)]
    ]
    return ", ".join(texts[:-1]), texts[-1]


def hopper_settings(demonstrations: Path | None) -> TrainSettings:
    """The settings that reach the first row."""
    return TrainSettings(
        env="Hopper-v5",
        demonstrations=demonstrations_file("Hopper-v5", demonstrations),
        trajectories=4,
        subsample=20,
        vec_env="dummy",
    )


def time_rows(demonstrations: Path | None) -> list[tuple[str, str, str]]:
    """GAIL's time over plain TRPO's, in each kind of environments that there is here."""
    settings = hopper_settings(demonstrations)
    kinds: list[VecEnvKind] = ["dummy", "envpool"] if envpool_has(settings.env) else ["dummy"]
    return [time_row(replace(settings, vec_env=kind)) for kind in kinds]


def time_row(settings: TrainSettings, timesteps: int = 204_800) -> tuple[str, str, str]:
    """Wall-clock of GAIL over plain TRPO, an iteration of each in turn, on the same environments."""
    imitating, callbacks = make_model(settings)
    plain = make_plain_model(settings)
    seconds = iterations_in_turn(
        [
            lambda timer: imitating.learn(timesteps, callback=[*callbacks, timer]),
            lambda timer: plain.learn(timesteps, callback=timer),
        ]
    )
    # What is set up once, and learned by then, is not what an iteration costs.
    ours, theirs = (np.array(each[WARM_UP:]) for each in seconds)
    bootstrapped = bootstrap(
        (ours, theirs),
        lambda ours, theirs: ours.sum() / theirs.sum(),
        paired=True,
        vectorized=False,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    low, high = bootstrapped.confidence_interval
    measured = f"{ours.sum() / theirs.sum():.3f} (95%: {low:.3f} to {high:.3f})"
    return f"GAIL over plain TRPO, {settings.env}, {settings.vec_env}, wall-clock", "<= 1.10", measured


def wrapper_row(env: str, to_reach: float, pairs: int = 9, steps: int = 2_048) -> tuple[str, str, str]:
    """The Vec wrapper while a callback collects, over the bare environments, on random actions."""
    bare = make_venv(env, n_envs=8, seed=0)
    demonstrations = Demonstrations.load(shipped(env))
    wrapped = GAILRewardVecWrapper(make_venv(env, n_envs=8, seed=0), Discriminator.from_demonstrations(demonstrations))
    actions = np.array([[bare.action_space.sample() for _ in range(8)] for _ in range(steps)])

    def roll(venv: VecEnv) -> None:
        venv.reset()
        for step, action in enumerate(actions):
            if venv is wrapped and step % 256 == 0:
                wrapped.skip_scoring(256)
            venv.step(action)

    return (
        f"Vec wrapper over bare {env}, 8 copies",
        f"<= {to_reach}",
        ratio(lambda: roll(wrapped), lambda: roll(bare), pairs),
    )


def ratio(ours: Callable[[], None], theirs: Callable[[], None], pairs: int) -> str:
    """The median of paired ratios of wall-clock, in turn after a warm-up, and their range."""

    def seconds(what: Callable[[], None]) -> float:
        start = time.perf_counter()
        what()
        return time.perf_counter() - start

    seconds(ours), seconds(theirs)
    ratios = [seconds(ours) / seconds(theirs) for _ in range(pairs)]
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def peak_memory() -> float:
    """The process's so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class MemoryCallback(BaseCallback):
    """Notes the process's peak memory at some numbers of steps, in MiB."""

    def __init__(self, every: int) -> None:
        super().__init__()
        self.every = every
        self.peaks: dict[int, float] = {}

    def _on_rollout_start(self) -> None:
        mark = self.model.num_timesteps // self.every * self.every
        self.peaks.setdefault(mark, peak_memory())

    def _on_step(self) -> bool:
        return True


def memory_row(demonstrations: Path | None, timesteps: int = 1_000_000) -> tuple[str, str, str]:
    """How much the peak memory grows after the first 100k steps of a long run, to its very end."""
    settings = hopper_settings(demonstrations)
    model, callbacks = make_model(settings)
    memory = MemoryCallback(100_000)
    model.learn(timesteps, callback=[*callbacks, memory])
    early, late = memory.peaks[100_000], peak_memory()
    return "peak memory at 1M steps over that at 100k", "flat", f"{late / early:.3f} ({early:.0f} to {late:.0f} MiB)"


if __name__ == "__main__":
    tyro.cli(main)
