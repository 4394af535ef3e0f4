"""What each choice behind the defaults is worth: GAIL with it and without it, on two tasks with three seeds.

    python benchmarks/ablations.py --demonstrations demonstrations

Jobs are those of `paper_table.py`: side by side, resumable, each with its settings, learning curve and final
evaluation in a folder of its own. The page is written from whatever is done.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import tyro
from main_path import each_and_median, first_held
from paper_cells import Result, load_results
from paper_table import make_jobs, run_selected
from render import HELD, SCORE, describe_machines, markdown_table
from variants import VARIANTS

from sb3_gail.files import replacing

LATE = 10
"""So many of the last evaluations tell how stable a run is."""


def page(results: Sequence[Result], commands: str) -> str:
    """What was measured, a table for each task."""
    envs = sorted({result.job.env for result in results})
    parts = [
        "# What each default is worth",
        "<!-- Written by benchmarks/ablations.py: change that, or run more jobs, instead of this page. -->",
        "Each row is GAIL with the defaults of `sb3-gail train` but for one choice. *Arrives* is the environment step "
        f"of the first of {HELD} evaluations in a row with a score of at least {SCORE}, for each seed. *Late* is the "
        f"mean score of the last {LATE} evaluations, and *worst* the lowest of them: seeds together. *Final* is the "
        "score of the policy at the end, for each seed, taking its most likely actions, and *sampling* them: the mean "
        "over seeds, which draw the demonstrations, too.",
        *(part for env in envs for part in _of_task([result for result in results if result.job.env == env])),
        "## How it was run",
        *describe_machines(results),
        f"```bash\n{commands.strip()}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _of_task(results: Sequence[Result]) -> list[str]:
    job = results[0].job
    header = ["variant", "arrives", "median", "late", "worst", "final", "sampling"]
    return [
        f"## {job.env}, {job.trajectories} trajectories, {job.timesteps:,} steps",
        markdown_table(header, _rows(results)),
    ]


def _rows(results: Sequence[Result]) -> Iterable[list[str]]:
    for name, variant in VARIANTS.items():
        runs = sorted((each for each in results if each.job.variant == name), key=lambda each: each.job.seed)
        if not runs:
            yield [variant.title, "not run", "-", "-", "-", "-", "-"]
            continue
        curves = [each.curve for each in runs]
        arrivals = [first_held(curve, SCORE, HELD) for curve in curves]
        late = [point.score for curve in curves for point in curve[-LATE:] if point.score is not None]
        yield [
            variant.title,
            *each_and_median(arrivals),
            f"{np.mean(late):.2f}",
            f"{min(late):.2f}",
            ", ".join(f"{each.score():.2f}" for each in runs),
            f"{np.mean([each.score('stochastic') for each in runs]):.2f}",
        ]


def main(
    results: Path = Path("runs/ablations"),
    demonstrations: Path = Path("demonstrations"),
    output: Path = Path("docs/benchmarks"),
    envs: tuple[str, ...] = ("Hopper-v5", "Walker2d-v5"),
    variants: tuple[str, ...] = tuple(VARIANTS),
    seeds: tuple[int, ...] = (0, 1, 2),
    timesteps: int | None = None,
    jobs: int = os.cpu_count() or 1,
) -> None:
    """Runs what is selected and not done yet, and writes the page.

    Args:
        results: Where the jobs' folders are, old ones and new ones.
        demonstrations: A folder of `<env>.npz` files.
        output: Where the page goes.
        envs: Which environments, with four trajectories.
        variants: Which variants.
        seeds: Which seeds.
        timesteps: Environment steps instead of the table's.
        jobs: How many to run side by side.
    """
    of_table = make_jobs(
        demonstrations, envs=envs, algorithms=["gail"], trajectories=[4], seeds=seeds, timesteps=timesteps
    )
    selected = [replace(job, variant=variant) for variant in variants for job in of_table]
    failed = run_selected(selected, results, jobs)
    output.mkdir(parents=True, exist_ok=True)
    with replacing(output / "ablations.md") as temporary:
        text = page(load_results(results), (results / "commands.txt").read_text(encoding="utf-8"))
        temporary.write_text(text, encoding="utf-8")
    if failed:
        sys.exit(f"{len(failed)} jobs failed: {', '.join(map(str, failed))}")


if __name__ == "__main__":
    tyro.cli(main)
