"""Everything that SB3's logger records, on Weights & Biases.

    pip install 'sb3-gail[wandb]'
    python examples/wandb_logging.py
    WANDB_MODE=offline python examples/wandb_logging.py    # no network: `wandb sync` uploads the run later

The run holds `gail/`, `rollout/`, `train/` and `eval/` on the axis of environment steps, histograms of rewards and
logits, the settings of learner and discriminator, a summary of the demonstrations, and the final model as an artifact.
"""

from __future__ import annotations

from typing import Any

import torch
import wandb
from sb3_contrib import TRPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.utils import set_random_seed

from sb3_gail import Demonstrations, Discriminator
from sb3_gail.callbacks import GAILCallback, ImitationEvalCallback, WandbCallback
from sb3_gail.data import shipped
from sb3_gail.wrappers import GAILRewardVecWrapper


def main(
    *,
    env_id: str = "CartPole-v1",
    project: str = "sb3-gail",
    total_timesteps: int = 60_000,
    n_envs: int = 8,
    n_steps: int = 256,
    eval_freq: int = 5_000,
    n_eval_episodes: int = 20,
    progress_bar: bool = True,
    **wandb_settings: Any,
) -> str:
    """Trains with W&B, whose further settings (`tags`, `dir`, ...) go to `wandb.init`; returns the run's id."""
    torch.set_num_threads(1)
    set_random_seed(0)  # before the discriminator draws its first weights
    demonstrations = Demonstrations.load(shipped(env_id)).take(4).subsample(10)
    discriminator = Discriminator.from_demonstrations(demonstrations)
    env = GAILRewardVecWrapper(make_vec_env(env_id, n_envs, seed=0), discriminator)
    model = TRPO("MlpPolicy", env, n_steps=n_steps, seed=0)

    gail = GAILCallback(discriminator, demonstrations)
    evaluation = ImitationEvalCallback(
        make_vec_env(env_id, n_envs, seed=0), demonstrations, eval_freq=eval_freq, n_eval_episodes=n_eval_episodes
    )

    # An open run is used and stays open, so that more can be logged to it; without one, WandbCallback(gail,
    # project=...) begins and finishes a run of its own.
    with wandb.init(project=project, **wandb_settings) as run:
        model.learn(total_timesteps, callback=[gail, evaluation, WandbCallback(gail)], progress_bar=progress_bar)
        steps, mean_return, final_score = evaluation.history[-1]
        run.summary["final_return"] = mean_return
        print(f"{steps} steps: return {mean_return:.1f}, score {final_score}")
        run_id: str = run.id
    return run_id


if __name__ == "__main__":
    main()
