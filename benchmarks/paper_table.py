"""Runs the paper's table: every environment, algorithm, number of trajectories and seed is a job.

    python benchmarks/paper_table.py --demonstrations demonstrations
    python benchmarks/paper_table.py --demonstrations demonstrations --envs Hopper-v5 --algorithms gail --seeds 0 1
    python benchmarks/paper_table.py --demonstrations demonstrations --envs Humanoid-v5 --algorithms gail --seeds 0

Jobs run side by side, one thread each, and leave settings, learning curve and final evaluation in a folder of their
own. Interrupted, the same command goes on: what is done stays, what ran goes on from its last checkpoint. The
evaluation is that of the final policy, and the seed draws the demonstrations from the file. `record_experts.py` makes
these files, and `render.py` makes tables and figures of the results.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import tyro
from paper_cells import ALGORITHMS, DEFAULT_ALGORITHMS, TASKS, AlgorithmName, Job, cells, load_result, priority

from sb3_gail.json_files import read_json, write_json

DEFAULT_ENVS = tuple(env for env in TASKS if env != "Humanoid-v5")
"""Humanoid takes as long as most of the rest together: it is run when it is named."""


def make_jobs(
    demonstrations: Path,
    *,
    envs: Sequence[str] = DEFAULT_ENVS,
    algorithms: Sequence[str] = DEFAULT_ALGORITHMS,
    trajectories: Sequence[int] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    order: str = "priority",
    timesteps: int | None = None,
    episodes: int = 50,
) -> list[Job]:
    """The selected jobs in the order in which they are to run.

    Raises:
        ValueError: If there is no such environment or algorithm, or no such cell.
        FileNotFoundError: If there are no demonstrations of an environment.
    """
    for name, chosen, known in (("envs", envs, TASKS), ("algorithms", algorithms, ALGORITHMS)):
        unknown = [each for each in chosen if each not in known]
        if unknown:
            raise ValueError(f"{name} must be some of {', '.join(known)}, got {unknown[0]!r}")
    files = {env: demonstrations / f"{env}.npz" for env in envs}
    for env, file in files.items():
        if not file.is_file():
            raise FileNotFoundError(f"there is no {file}: make it with record_experts.py, or leave {env} out of envs")
    selected = list(cells(envs, algorithms, trajectories))
    if not selected:
        there = "; ".join(f"{env} {TASKS[env].trajectories}" for env in envs)
        raise ValueError(
            f"expected trajectories of the paper's table ({there}) and an algorithm that it has there, got "
            f"{trajectories} and {', '.join(algorithms)}"
        )
    jobs = [
        Job(env, algorithm, n, seed, timesteps or TASKS[env].timesteps, str(files[env].resolve()), episodes)
        for seed in seeds
        for env, algorithm, n in selected
    ]
    return sorted(jobs, key=priority) if order == "priority" else jobs


def prepare(job: Job, results: Path) -> Path:
    """Makes the folder of a job.

    Raises:
        ValueError: If it has another job there.
    """
    folder = results / job.name
    file = folder / "job.json"
    if file.is_file():
        there = Job(**read_json(file))
        if there != job:
            raise ValueError(f"{folder} has another job, {there}, than {job}: use another folder for these results")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(file, asdict(job))
    return folder


def start(folder: Path, side_by_side: int) -> subprocess.Popen[bytes]:
    """Starts a job, or goes on with it, in a process of its own."""
    script = Path(__file__).with_name("paper_job.py")
    command = [sys.executable, str(script), str(folder), "--side-by-side", str(side_by_side)]
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env={"OMP_NUM_THREADS": "1", **os.environ}
        )


def run_all(folders: Sequence[Path], n_side_by_side: int) -> list[Path]:
    """Runs jobs; those that are running when this is interrupted are stopped, and go on the next time.

    Returns:
        The folders of the jobs that failed.
    """
    waiting, running, failed = deque(folders), dict[subprocess.Popen[bytes], Path](), list[Path]()
    try:
        while waiting or running:
            while waiting and len(running) < n_side_by_side:
                folder = waiting.popleft()
                running[start(folder, n_side_by_side)] = folder
            time.sleep(0.1)
            for process in [process for process in running if process.poll() is not None]:
                folder = running.pop(process)
                if process.returncode:
                    failed.append(folder)
                done = len(folders) - len(waiting) - len(running)
                print(f"[{done}/{len(folders)}] {folder}: {_outcome(folder, process.returncode)}", flush=True)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()
    return failed


def _outcome(folder: Path, status: int) -> str:
    if status:
        return f"failed with status {status}, see its log.txt"
    result = load_result(folder)
    return f"score {result.score():.3f}, {result.score('stochastic'):.3f} sampling its actions"


def run_selected(selected: Sequence[Job], results: Path, n_side_by_side: int) -> list[Path]:
    """Runs what of some jobs is not done yet, and notes the command.

    Returns:
        The folders of the jobs that failed.
    """
    folders = [prepare(job, results) for job in selected]
    to_do = [folder for folder in folders if not (folder / "result.json").is_file()]
    print(f"{len(folders)} jobs, {len(to_do)} of them to do", flush=True)
    with (results / "commands.txt").open("a") as commands:
        commands.write(shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]) + "\n")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    return run_all(to_do, n_side_by_side)


def main(
    results: Path = Path("runs/paper_table"),
    demonstrations: Path = Path("demonstrations"),
    envs: tuple[str, ...] = DEFAULT_ENVS,
    algorithms: tuple[AlgorithmName, ...] = DEFAULT_ALGORITHMS,
    trajectories: tuple[int, ...] = (),
    seeds: tuple[int, ...] = (0, 1, 2),
    order: Literal["priority", "table"] = "priority",
    jobs: int = os.cpu_count() or 1,
    timesteps: int | None = None,
    episodes: int = 50,
) -> None:
    """Runs the cells of the paper's table that are selected and not done yet.

    Args:
        results: Where the jobs' folders are, old ones and new ones.
        demonstrations: A folder of `<env>.npz` files.
        envs: Which environments.
        algorithms: Which algorithms.
        trajectories: Which numbers of trajectories; by default all that the paper has for the environment.
        seeds: Which seeds.
        order: What tells most about the table first, or seed by seed down the table.
        jobs: How many to run side by side.
        timesteps: Environment steps instead of the table's: for trying it out.
        episodes: Of each final evaluation.
    """
    selected = make_jobs(
        demonstrations,
        envs=envs,
        algorithms=algorithms,
        trajectories=trajectories or None,
        seeds=seeds,
        order=order,
        timesteps=timesteps,
        episodes=episodes,
    )
    failed = run_selected(selected, results, jobs)
    if failed:
        sys.exit(f"{len(failed)} jobs failed: {', '.join(map(str, failed))}")


if __name__ == "__main__":
    tyro.cli(main)
