"""One job of `paper_table.py`: trains, evaluates and leaves all of it in the job's folder.

    python benchmarks/paper_job.py runs/paper_table/Hopper-v5/gail-4-0

The folder has the `job.json` that says what to do. A job that was interrupted goes on from its last checkpoint.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from paper_cells import TASKS, Job
from stable_baselines3.common.base_class import BaseAlgorithm
from variants import VARIANTS

from sb3_gail.adapters import pretrain_bc
from sb3_gail.demonstrations import Demonstrations
from sb3_gail.evaluation import Evaluation, evaluate, random_evaluation
from sb3_gail.files import held
from sb3_gail.json_files import read_json, write_json
from sb3_gail.runs import Run, load_agent, resume, train
from sb3_gail.runs.experiment import make_plain_model
from sb3_gail.runs.learners import make_venv
from sb3_gail.runs.settings import RunSettings, TrainSettings, Value, write_settings

EVALUATIONS = 50
"""How many there are in a learning curve."""

EPISODES_OF_A_POINT = 10
"""Of each of them."""

WASSERSTEIN: dict[str, Value] = {
    "loss": "wasserstein",
    "reward": "airl",
    "gradient_penalty": 10.0,
    "gradient_norm": 1.0,
}

PACKAGES = ("sb3-gail", "stable-baselines3", "sb3-contrib", "gymnasium", "torch", "numpy", "mujoco", "envpool")


def run_job(folder: Path, *, side_by_side: int) -> None:
    """Does what the folder's `job.json` says, as far as it is not done yet."""
    job = Job(**read_json(folder / "job.json"))
    with held(folder):
        if (folder / "result.json").is_file():
            return
        drawn, file = draw_demonstrations(job, folder.parent / "demonstrations")
        model, more = clone(job, file, folder) if job.algorithm == "bc" else imitate(job, file, folder)
        venv = make_venv(job.env, n_envs=8, seed=0)
        evaluations = {
            mode: _as_json(evaluate(model, venv, n_episodes=job.episodes, deterministic=mode == "deterministic"))
            for mode in ("deterministic", "stochastic")
        }
        content = {
            "random": random_return(job, folder.parent / "random.json"),
            "demonstrations": Demonstrations.load(file).mean_return,
            "trajectories": drawn,
            "timesteps": model.num_timesteps,
            "episodes_of_a_point": EPISODES_OF_A_POINT,
            **evaluations,
            **more,
            "commit": commit(),
            "machine": {**machine(), "jobs_side_by_side": side_by_side},
        }
        write_json(folder / "result.json", content)


def draw_demonstrations(job: Job, folder: Path) -> tuple[list[int], Path]:
    """Which trajectories of the file a job imitates, and a file of those, subsampled as in the paper.

    The first ones of a permutation that its seed gives: more trajectories include the fewer, and all algorithms get the
    same ones.
    """
    whole = Demonstrations.load(job.demonstrations)
    drawn = np.random.default_rng(job.seed).permutation(whole.n_episodes)[: job.trajectories].tolist()
    source = hashlib.sha256(Path(job.demonstrations).read_bytes()).hexdigest()[:8]
    file = folder / f"{job.trajectories}-{job.seed}-{source}.npz"
    if not file.is_file():
        episodes = list(whole.episodes())
        part = Demonstrations.from_episodes(
            [episodes[index] for index in drawn],
            env_id=whole.env_id,
            observation_space=whole.declared_observation_space,
            action_space=whole.declared_action_space,
        )
        # The score's expert is the whole file's.
        part = replace(part.subsample(TASKS[job.env].subsample, seed=job.seed), mean_return=whole.mean_return)
        folder.mkdir(parents=True, exist_ok=True)
        part.save(file)
    return drawn, file


def imitate(job: Job, demonstrations: Path, folder: Path) -> tuple[BaseAlgorithm, dict[str, Any]]:
    """Trains by acting, or goes on with it: an ordinary run, in the folder `run`."""
    path = folder / "run"
    if (path / "settings.json").is_file():
        resume(path)
    else:
        shutil.rmtree(path, ignore_errors=True)  # what was interrupted before it began
        train(train_settings(job, demonstrations, path))
    return load_agent(path), {"curve": learning_curve(Run(path))}


def learning_curve(run: Run) -> list[tuple[float | None, ...]]:
    """Steps, mean return, score and seconds of each evaluation of a run, all of its parts together."""
    log = run.progress()
    return [(*point, _seconds_at(log, point.timesteps)) for point in run.curve()]


def _seconds_at(log: Sequence[Mapping[str, float]], timesteps: int) -> float:
    """Wall-clock up to a number of steps, all parts of a run together."""
    before = last = 0.0
    for row in log:
        elapsed = row.get("time/time_elapsed")
        if elapsed is None:
            continue
        if elapsed < last:  # the clock of each part of a resumed run starts at 0
            before += last
        last = elapsed
        if row["time/total_timesteps"] >= timesteps:
            break
    return before + last


def train_settings(job: Job, demonstrations: Path, path: Path) -> TrainSettings:
    """Our defaults, whatever the environment: only what makes the cell and the variant is set."""
    adversary: Any = job.algorithm if job.algorithm in ("fem", "gtal", "airl") else "gail"
    freq = max(1, job.timesteps // EVALUATIONS)
    settings = TrainSettings(
        env=job.env,
        demonstrations=demonstrations,
        shuffle_demonstrations=job.algorithm == "shuffled",
        adversary=adversary,
        discriminator=dict(WASSERSTEIN) if job.algorithm == "wasserstein" else {},
        total_timesteps=job.timesteps,
        seed=job.seed,
        n_eval_episodes=EPISODES_OF_A_POINT,
        eval_freq=freq,
        checkpoint_freq=freq,
        run_dir=path,
    )
    return replace(settings, **VARIANTS[job.variant].settings)


def clone(job: Job, demonstrations: Path, folder: Path) -> tuple[BaseAlgorithm, dict[str, Any]]:
    """Behavioural cloning alone, from the start each time: it takes a minute."""
    settings = RunSettings(env=job.env, seed=job.seed)
    model = make_plain_model(settings)
    started = time.perf_counter()
    result = pretrain_bc(model, Demonstrations.load(demonstrations), seed=job.seed)
    seconds = time.perf_counter() - started
    path = folder / "run"
    path.mkdir(exist_ok=True)
    write_settings(path / "settings.json", settings)
    model.save(path / "model.zip")
    normalise = model.get_vec_normalize_env()
    if normalise is not None:
        normalise.save(str(path / "vecnormalize.pkl"))
    return model, {"curve": [], "cloning": asdict(result), "seconds": seconds}


def random_return(job: Job, file: Path) -> float:
    """The mean return of random actions, measured once for an environment."""
    if not file.is_file():
        played = random_evaluation(make_venv(job.env, n_envs=8, seed=0), n_episodes=50)
        write_json(file, {"mean_return": played.mean_return, "returns": played.returns.tolist()})
    return float(read_json(file)["mean_return"])


def commit() -> str | None:
    """What of this repository ran, with `-dirty` if it was changed; `None` outside a clone, and without git."""
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    if shutil.which("git") is None:
        return None
    described = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return described.stdout.strip() or None


def machine() -> dict[str, Any]:
    """What the numbers were made on and with."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cores": os.cpu_count(), "memory_gib": round(memory / 2**30), "processor": _processor(), **versions}


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _as_json(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "mean_return": evaluation.mean_return,
        "std_return": evaluation.std_return,
        "returns": evaluation.returns.tolist(),
        "lengths": evaluation.lengths.tolist(),
    }


def main(folder: Path, /, *, side_by_side: int = 1) -> None:
    """Runs one job.

    Args:
        folder: The job's.
        side_by_side: How many jobs share the machine: it is noted beside the times.
    """
    run_job(folder, side_by_side=side_by_side)


if __name__ == "__main__":
    tyro.cli(main)
