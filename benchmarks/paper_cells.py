"""What the paper's table is made of: its tasks, cells and jobs, and what a job leaves on disk."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sb3_gail.evaluation import score
from sb3_gail.json_files import read_json, write_json
from sb3_gail.runs import Point

AlgorithmName = Literal["gail", "fem", "gtal", "bc", "shuffled", "airl", "wasserstein"]

ALGORITHMS: dict[str, str] = {
    "gail": "GAIL",
    "fem": "FEM",
    "gtal": "GTAL",
    "bc": "BC",
    "shuffled": "GAIL, shuffled",
    "airl": "AIRL",
    "wasserstein": "Wasserstein GAIL",
}
"""What can be run, and what it is called on a page."""

DEFAULT_ALGORITHMS: tuple[AlgorithmName, ...] = ("gail", "fem", "gtal", "bc", "shuffled")
"""The paper's, and the control that has no information."""


_CLASSIC = (1, 4, 7, 10)
_MUJOCO = (4, 11, 18, 25)


@dataclass(frozen=True)
class Task:
    """An environment of the paper's table.

    Attributes:
        env: Today's Gymnasium id.
        paper: The id that the paper's table has.
        trajectories: How many trajectories the authors imitated; of Humanoid the most that there are here.
        subsample: They kept one transition in so many.
        timesteps: Environment steps of a job that learns by acting.
        without: Algorithms that the paper's table does not have for it.
    """

    env: str
    paper: str
    trajectories: tuple[int, ...]
    subsample: int
    timesteps: int
    without: tuple[str, ...] = ()

    @property
    def is_classic(self) -> bool:
        """Whether it is one of the three small ones."""
        return self.trajectories == _CLASSIC


TASKS = {
    task.env: task
    for task in (
        Task("CartPole-v1", "CartPole-v0", _CLASSIC, 10, 150_000),
        Task("Acrobot-v1", "Acrobot-v0", _CLASSIC, 5, 150_000),
        Task("MountainCar-v0", "MountainCar-v0", _CLASSIC, 5, 150_000),
        Task("Hopper-v5", "Hopper-v1", _MUJOCO, 20, 1_000_000),
        Task("HalfCheetah-v5", "HalfCheetah-v1", _MUJOCO, 20, 1_000_000),
        Task("Walker2d-v5", "Walker2d-v1", _MUJOCO, 20, 1_000_000),
        Task("Ant-v5", "Ant-v1", _MUJOCO, 20, 2_000_000),
        Task("Reacher-v5", "Reacher-v1", (4, 11, 18), 1, 1_000_000, without=("fem", "gtal")),
        Task("Humanoid-v5", "Humanoid-v1", (25,), 5, 10_000_000),
    )
}


@dataclass(frozen=True)
class Job:
    """One run of one cell.

    Attributes:
        env: Today's Gymnasium id.
        algorithm: A key of `ALGORITHMS`.
        trajectories: How many demonstrations.
        seed: Of everything, also of which demonstrations are drawn.
        timesteps: Environment steps.
        demonstrations: The file of all demonstrations.
        episodes: Of each final evaluation.
        variant: A key of `VARIANTS`.
    """

    env: str
    algorithm: str
    trajectories: int
    seed: int
    timesteps: int
    demonstrations: str
    episodes: int = 50
    variant: str = "defaults"

    @property
    def name(self) -> str:
        """Its folder's."""
        variant = "" if self.variant == "defaults" else f"-{self.variant}"
        return f"{self.env}/{self.algorithm}-{self.trajectories}-{self.seed}{variant}"


def cells(
    envs: Iterable[str], algorithms: Iterable[str], trajectories: Sequence[int] | None
) -> Iterator[tuple[str, str, int]]:
    """Environment, algorithm and number of trajectories of each cell there is among those selected."""
    chosen = list(algorithms)
    for env in envs:
        for algorithm in (each for each in chosen if each not in TASKS[env].without):
            for n in TASKS[env].trajectories:
                if trajectories is None or n in trajectories:
                    yield env, algorithm, n


def priority(job: Job) -> int:
    """What is run first: what tells most about the whole table.

    GAIL with the fewest and the most trajectories, Ant, classic control, the other algorithms with the fewest and the
    most trajectories, the other numbers of trajectories, Humanoid.
    """
    task = TASKS[job.env]
    at_an_end = job.trajectories in (task.trajectories[0], task.trajectories[-1])
    if job.env == "Humanoid-v5":
        return 5
    if job.algorithm == "gail" and at_an_end and not task.is_classic:
        return 0
    if job.algorithm == "gail" and job.env == "Ant-v5":
        return 1
    if task.is_classic:
        return 2
    return 3 if at_an_end else 4


@dataclass(frozen=True)
class Result:
    """What a finished job left.

    Attributes:
        job: Which it was.
        content: Of its `result.json`.
    """

    job: Job
    content: Mapping[str, Any]

    @property
    def curve(self) -> list[Point]:
        """The evaluations while it learned; none of cloning."""
        return [Point(*point[:3]) for point in self.content["curve"]]

    def seconds_at(self, timesteps: int) -> float:
        """Wall-clock from the start to the evaluation after so many steps, pauses left out."""
        return next(float(seconds) for at, _, _, seconds in self.content["curve"] if at == timesteps)

    def mean_return(self, mode: str = "deterministic") -> float:
        """Of the final policy, taking its most likely actions or (`stochastic`) sampling them."""
        return float(self.content[mode]["mean_return"])

    def score(self, mode: str = "deterministic") -> float:
        """0 is random, 1 the mean of all demonstrations of the file."""
        return score(
            self.mean_return(mode), random_return=self.content["random"], expert_return=self.content["demonstrations"]
        )


def load_result(folder: Path) -> Result:
    """What a job that has ended left in its folder."""
    return Result(Job(**read_json(folder / "job.json")), read_json(folder / "result.json"))


def load_results(folder: Path) -> list[Result]:
    """Of all jobs that have ended."""
    return [load_result(file.parent) for file in sorted(folder.glob("*/*/result.json"))]


def keep(result: Result, record: Path) -> None:
    """Writes a result into the record of what is published: a file that says all that the page is made of."""
    job = replace(result.job, demonstrations=Path(result.job.demonstrations).name)
    file = record / f"{job.name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, {"job": asdict(job), **result.content})


def load_record(record: Path) -> list[Result]:
    """All that was kept."""
    contents = [read_json(file) for file in sorted(record.glob("*/*.json"))]
    return [Result(Job(**content.pop("job")), content) for content in contents]


@dataclass(frozen=True)
class PaperValue:
    """A cell of the authors' own evaluation of their own runs."""

    return_mean: float
    return_std: float
    expert_mean: float
    algorithm: str

    def score(self, random_return: float) -> float:
        """With the paper's own expert."""
        return score(self.return_mean, random_return=random_return, expert_return=self.expert_mean)


def load_paper(file: Path) -> dict[tuple[str, str, int], PaperValue]:
    """The paper's values by (today's environment, algorithm, trajectories).

    Of Reacher they have runs with four weights of an entropy bonus: the best one of each cell is taken.
    """
    envs = {task.paper: env for env, task in TASKS.items()}
    values: dict[tuple[str, str, int], PaperValue] = {}
    with file.open(newline="") as lines:
        for row in csv.DictReader(lines):
            cell = envs[row["env"]], row["algorithm"].split()[0].lower(), int(row["trajectories"])
            value = PaperValue(
                float(row["return_mean"]), float(row["return_std"]), float(row["expert_mean"]), row["algorithm"]
            )
            if cell not in values or value.return_mean > values[cell].return_mean:
                values[cell] = value
    return values
