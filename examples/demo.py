"""The whole way in one file: demonstrations, behavioural cloning, GAIL, a table and a learning curve (`make demo`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tyro
from rich.console import Console

from sb3_gail import Demonstrations
from sb3_gail.adapters import pretrain_bc
from sb3_gail.data import shipped
from sb3_gail.evaluation import evaluate, random_evaluation
from sb3_gail.runs import train
from sb3_gail.runs.experiment import load_demonstrations, make_plain_model
from sb3_gail.runs.learners import make_venv
from sb3_gail.runs.plots import plot_runs
from sb3_gail.runs.settings import TrainSettings
from sb3_gail.tables import returns_table


def main(
    env: str = "Hopper-v5",
    total_timesteps: int = 300_000,
    eval_freq: int = 20_000,
    n_eval_episodes: int = 20,
    seed: int = 0,
    run_dir: Path | None = None,
) -> None:
    """Imitate from 4 trajectories, every 20th step of each.

    Args:
        env: An environment that demonstrations ship for.
        total_timesteps: Environment steps of GAIL.
        eval_freq: Environment steps between two points of the learning curve.
        n_eval_episodes: Episodes in each evaluation.
        seed: Seeds all of it.
        run_dir: The folder to write; by default a new one in `runs`.
    """
    settings = TrainSettings(
        env=env,
        trajectories=4,
        subsample=20,
        total_timesteps=total_timesteps,
        eval_freq=eval_freq,
        n_eval_episodes=n_eval_episodes,
        seed=seed,
        run_dir=run_dir,
    )
    eval_env = make_venv(env, n_envs=8, seed=seed)

    cloned, demonstrations = make_plain_model(settings), load_demonstrations(settings)
    print(f"Behavioural cloning of {demonstrations}")
    pretrain_bc(cloned, demonstrations, progress_bar=True)
    bc = evaluate(cloned, eval_env, n_episodes=n_eval_episodes)

    print("Generative adversarial imitation learning")
    run = train(settings, progress=True)

    table = returns_table(
        f"{env} after {run.evaluation['timesteps']:,} steps",
        random=random_evaluation(eval_env, n_episodes=n_eval_episodes).returns,
        demonstrations=Demonstrations.load(shipped(env)).returns,
        policies={"BC alone": bc.returns, "GAIL": np.array(run.evaluation["returns"])},
        expert_return=demonstrations.mean_return,
    )
    Console().print(table)
    print(f"Learning curve: {plot_runs([run.path], run.path / 'curve.png')}")


if __name__ == "__main__":
    tyro.cli(main)
