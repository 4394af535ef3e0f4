"""Learn a reward with GAIL, save it, and train a fresh agent on it, frozen.

    python examples/frozen_reward.py

Without a callback the reward wrapper scores every step with an adversary that no longer changes, so any SB3 learner can
train on it, off-policy ones too. Do not expect too much: GAIL's discriminator learns to tell this expert from this
policy, and where the two have become alike it has no more to say. What is left is a reward around the states that
GAIL's own policy went through. Needs `sb3-gail[mujoco]`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from sb3_contrib import TRPO
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from sb3_gail import Demonstrations, Discriminator
from sb3_gail.callbacks import GAILCallback
from sb3_gail.data import shipped
from sb3_gail.evaluation import evaluate
from sb3_gail.wrappers import GAILRewardVecWrapper


def main(
    *,
    env_id: str = "Hopper-v5",
    total_timesteps: int = 300_000,
    n_envs: int = 8,
    n_steps: int = 256,
    n_eval_episodes: int = 20,
    output: str = "runs/frozen_reward",
    progress_bar: bool = True,
) -> dict[str, float]:
    """Returns the mean true returns of GAIL's agent and of the fresh one."""
    torch.set_num_threads(1)
    reward_file = Path(output, "discriminator.pt")
    demonstrations = Demonstrations.load(shipped(env_id))
    eval_env = make_vec_env(env_id, n_envs, seed=0)

    # First: GAIL, of which we keep the discriminator.
    discriminator = Discriminator.from_demonstrations(demonstrations)
    env = VecNormalize(GAILRewardVecWrapper(make_vec_env(env_id, n_envs, seed=0), discriminator), norm_reward=False)
    imitator = TRPO("MlpPolicy", env, n_steps=n_steps, gamma=0.99, gae_lambda=0.95, seed=0)
    imitator.learn(total_timesteps, callback=GAILCallback(discriminator, demonstrations), progress_bar=progress_bar)
    reward_file.parent.mkdir(parents=True, exist_ok=True)
    discriminator.save(reward_file)
    returns = {"GAIL": evaluate(imitator, eval_env, n_episodes=n_eval_episodes).mean_return}

    # Another day: the same kind of discriminator, its state from the file, and the wrapper alone.
    frozen = Discriminator.from_demonstrations(demonstrations)
    frozen.load(reward_file)
    env = VecNormalize(GAILRewardVecWrapper(make_vec_env(env_id, n_envs, seed=1), frozen), norm_reward=False)
    fresh = PPO("MlpPolicy", env, n_steps=n_steps, seed=1, device="cpu")
    fresh.learn(total_timesteps, progress_bar=progress_bar)
    returns["a fresh agent"] = evaluate(fresh, eval_env, n_episodes=n_eval_episodes).mean_return

    for name, mean_return in returns.items():
        print(f"{name}: true return {mean_return:.1f}")
    return returns


if __name__ == "__main__":
    main()
