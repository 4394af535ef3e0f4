"""Many environments at once, the recommended settings, and a checkpoint to go on from: the form for real tasks.

    python examples/vectorised.py            # stop it with Ctrl-C when you like
    python examples/vectorised.py            # ... and go on

`VecNormalize` goes outside the reward wrapper, so that the discriminator sees raw observations, as the demonstrations
are. The settings are those of `sb3-gail train`: what is not said here is TRPO's own default. Needs `sb3-gail[mujoco]`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from sb3_contrib import TRPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecNormalize

from sb3_gail import Demonstrations, Discriminator, load_checkpoint
from sb3_gail.callbacks import GAILCallback, ImitationCheckpointCallback, ImitationEvalCallback, TargetKLCallback
from sb3_gail.data import shipped
from sb3_gail.schedules import geometric
from sb3_gail.wrappers import GAILRewardVecWrapper


def main(
    *,
    env_id: str = "Hopper-v5",
    total_timesteps: int = 300_000,
    n_envs: int = 32,
    n_steps: int = 64,
    eval_freq: int = 20_000,
    n_eval_episodes: int = 20,
    save_freq: int = 20_000,
    output: str = "runs/vectorised",
    progress_bar: bool = True,
) -> TRPO:
    """Trains, or goes on training, up to so many environment steps of all copies together."""
    torch.set_num_threads(1)
    set_random_seed(0)  # before the discriminator draws its first weights
    checkpoint = Path(output, "checkpoint.zip")
    checkpoint.parent.mkdir(parents=True, exist_ok=True)

    demonstrations = Demonstrations.load(shipped(env_id)).take(4).subsample(20)
    discriminator = Discriminator.from_demonstrations(demonstrations)
    # Some of the policy's entropy keeps it from getting too sure to learn.
    gail = GAILCallback(discriminator, demonstrations, causal_entropy=0.01)

    # Inside out: the environments, the reward wrapper around all of them, VecNormalize around that.
    env = GAILRewardVecWrapper(make_vec_env(env_id, n_envs, seed=0), discriminator)
    normalised = VecNormalize(env, norm_reward=False)

    # The checkpoint holds model, discriminator, VecNormalize's statistics and random states; made anew is what is
    # around them. The environments cannot be saved: they begin new episodes.
    if checkpoint.exists():
        model = load_checkpoint(checkpoint, TRPO, normalised, gail)
        print(f"Going on after {model.num_timesteps} steps")
    else:
        # First actions that deviate about as much as the expert's do: by 0.7, where SB3's deviate by 1.
        model = TRPO("MlpPolicy", normalised, n_steps=n_steps, policy_kwargs={"log_std_init": -0.35}, seed=0)

    # The evaluation environment is plain: the callback normalises as training does, and needs no reward wrapper.
    evaluation = ImitationEvalCallback(
        make_vec_env(env_id, n_envs, seed=0), demonstrations, eval_freq=eval_freq, n_eval_episodes=n_eval_episodes
    )
    model.learn(
        max(0, total_timesteps - model.num_timesteps),
        callback=[
            gail,
            evaluation,
            TargetKLCallback(geometric(0.04, 0.002)),  # large steps first, and to rest at the expert with small ones
            ImitationCheckpointCallback(gail, checkpoint, save_freq=save_freq),
        ],
        reset_num_timesteps=False,
        progress_bar=progress_bar,
    )

    # To use the agent elsewhere, SB3's own two files are enough.
    model.save(f"{output}/model.zip")
    normalised.save(f"{output}/vecnormalize.pkl")
    return model


if __name__ == "__main__":
    main()
