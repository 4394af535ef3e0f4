"""The shortest GAIL: one environment, a discriminator, the reward wrapper around it and the callback in `learn()`.

    python examples/train_gail.py

The agent imitates four of the demonstrations that ship with the package, of which it sees every 20th step. It never
sees Hopper's own reward: `rollout/ep_rew_mean` and `eval/score` show it to you alone. Needs `sb3-gail[mujoco]`; with
`main(env_id="CartPole-v1")` it needs nothing more.
"""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import torch
from sb3_contrib import TRPO
from stable_baselines3.common.utils import set_random_seed

from sb3_gail import Demonstrations, Discriminator
from sb3_gail.callbacks import GAILCallback, ImitationEvalCallback
from sb3_gail.data import shipped
from sb3_gail.evaluation import evaluate
from sb3_gail.wrappers import GAILRewardWrapper


def main(
    *,
    env_id: str = "Hopper-v5",
    total_timesteps: int = 300_000,
    n_steps: int = 2048,
    eval_freq: int = 20_000,
    n_eval_episodes: int = 20,
    output: str = "runs/train_gail",
    progress_bar: bool = True,
) -> TRPO:
    """Trains an imitating agent, evaluates it and saves it."""
    torch.set_num_threads(1)  # networks this small are slower on many threads
    set_random_seed(0)  # before the discriminator draws its first weights

    # The expert: four trajectories, every 20th step of each.
    demonstrations = Demonstrations.load(shipped(env_id)).take(4).subsample(20)
    print(demonstrations)

    # The adversary, and an environment that pays its reward instead of its own.
    discriminator = Discriminator.from_demonstrations(demonstrations)
    env = GAILRewardWrapper(gym.make(env_id), discriminator)

    # From here on it is Stable-Baselines3 as ever: one learner, one learn(), callbacks.
    model = TRPO("MlpPolicy", env, n_steps=n_steps, seed=0)
    gail = GAILCallback(discriminator, demonstrations)
    evaluation = ImitationEvalCallback(
        gym.make(env_id), demonstrations, eval_freq=eval_freq, n_eval_episodes=n_eval_episodes
    )
    model.learn(total_timesteps, callback=[gail, evaluation], progress_bar=progress_bar)

    final = evaluate(model, gym.make(env_id), n_episodes=n_eval_episodes)
    print(f"The agent returns {final.mean_return:.1f}, the demonstrations {demonstrations.mean_return:.1f}")

    # The model is SB3's; the discriminator has a file of its own.
    Path(output).mkdir(parents=True, exist_ok=True)
    model.save(f"{output}/model.zip")
    discriminator.save(f"{output}/discriminator.pt")
    return model


if __name__ == "__main__":
    main()
