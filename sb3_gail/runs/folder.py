"""A run's folder, written by training and read by everything else."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, NamedTuple

from sb3_gail.json_files import read_json
from sb3_gail.runs.settings import RunSettings, read_settings

_STEPS = "time/total_timesteps"


class Point(NamedTuple):
    """One evaluation in a learning curve."""

    timesteps: int
    mean_return: float
    score: float | None


class Run:
    """A folder that `train` or `train_expert` wrote, finished or not.

    Args:
        path: The folder.

    Raises:
        FileNotFoundError: If there is no run there.
        ValueError: If its settings cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        file = self.path / "settings.json"
        if not file.is_file():
            raise FileNotFoundError(f"expected the folder of a run, with a settings.json in it, got {str(path)!r}")
        self.settings = read_settings(file)

    @property
    def checkpoint(self) -> Path:
        """The last checkpoint of policy and adversary."""
        return self.path / "checkpoint.zip"

    @property
    def model(self) -> Path:
        """The final model, as SB3 saves it; there once the run has ended, with its `vecnormalize.pkl` beside it."""
        return self.path / "model.zip"

    @property
    def baselines(self) -> dict[str, float | None]:
        """Mean returns of `random` actions and of the `demonstrations` (none if they carry no rewards)."""
        baselines: dict[str, float | None] = read_json(self.path / "baselines.json")
        return baselines

    @property
    def evaluation(self) -> dict[str, Any]:
        """The final evaluation: `timesteps`, `mean_return`, `score`, each episode's `returns`..."""
        evaluation: dict[str, Any] = read_json(self.path / "evaluation.json")
        return evaluation

    def progress(self) -> list[dict[str, float]]:
        """All that the logger recorded: a row for each time that it wrote.

        A resumed run has a CSV file for each of its parts. What was logged after the checkpoint from which the next
        part goes on is left out, because that part did it again.
        """
        parts = sorted((_start_of(file), file) for file in self.path.glob("progress*.csv"))
        ends = [start for start, _ in parts[1:]]
        return [
            row
            for (_, file), end in zip(parts, [*ends, float("inf")], strict=False)
            for row in _read_log(file)
            if row[_STEPS] <= end
        ]

    def curve(self) -> list[Point]:
        """The evaluations while training."""
        return [
            Point(int(row[_STEPS]), row["eval/mean_reward"], row.get("eval/score"))
            for row in self.progress()
            if "eval/mean_reward" in row
        ]


def new_folder(settings: RunSettings) -> Path:
    """Makes the folder that the settings name, or one in `runs` with the next free number.

    Raises:
        FileExistsError: If it holds something already.
        OSError: If it cannot be made.
    """
    if settings.run_dir is not None:
        # Hidden files are no run: the lock, and what a process that was killed while it wrote its first file left.
        if settings.run_dir.is_dir() and any(not file.name.startswith(".") for file in settings.run_dir.iterdir()):
            raise FileExistsError(
                f"run_dir must be a new or empty folder, got {str(settings.run_dir)!r}; resume the run in it, or "
                f"name another"
            )
        settings.run_dir.mkdir(parents=True, exist_ok=True)
        return settings.run_dir
    name = f"{settings.env.replace('/', '-')}-{settings.algorithm}"
    number = 1
    while True:
        folder = Path("runs") / f"{name}-{number}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder


def _start_of(log: Path) -> int:
    """The environment steps before the first row of `progress.csv` or `progress-<steps>.csv`."""
    return int(log.stem.partition("-")[2] or 0)


def _read_log(log: Path) -> list[dict[str, float]]:
    """The rows of a CSV that SB3 wrote, but for one that a killed process left half written."""
    with log.open(newline="", encoding="utf-8") as lines:
        header, *rows = list(csv.reader(lines)) or [[]]
    whole = [dict(zip(header, row, strict=True)) for row in rows if len(row) == len(header)]
    return [{name: float(value) for name, value in row.items() if value} for row in whole if row[_STEPS]]
