"""Behavioural cloning first, then GAIL: a head start, and what it takes to keep it.

    python examples/bc_then_gail.py

Cloning trains the model's own policy in place. Two things then undo it easily: a critic and a discriminator that know
nothing yet, and an update that follows them. So the first rollouts train these two alone, and a cloning term that fades
away keeps the policy near the expert meanwhile. Leave either out to see what it does. Needs `sb3-gail[mujoco]`.
"""

from __future__ import annotations

import torch
from sb3_contrib import TRPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecNormalize

from sb3_gail import Demonstrations, Discriminator
from sb3_gail.adapters import pretrain_bc
from sb3_gail.callbacks import BCAnnealingCallback, CriticWarmupCallback, GAILCallback
from sb3_gail.data import shipped
from sb3_gail.evaluation import evaluate, random_evaluation, score
from sb3_gail.wrappers import GAILRewardVecWrapper


def main(
    *,
    env_id: str = "Hopper-v5",
    total_timesteps: int = 200_000,
    n_envs: int = 8,
    n_steps: int = 256,
    epochs: int = 1000,
    half_life: int = 20_000,
    n_eval_episodes: int = 20,
    progress_bar: bool = True,
) -> dict[str, float]:
    """Returns the scores after cloning and after GAIL: 0 is random, 1 is the demonstrations' mean."""
    torch.set_num_threads(1)
    set_random_seed(0)  # before the discriminator draws its first weights
    demonstrations = Demonstrations.load(shipped(env_id)).take(4).subsample(20)
    discriminator = Discriminator.from_demonstrations(demonstrations)
    env = GAILRewardVecWrapper(make_vec_env(env_id, n_envs, seed=0), discriminator)
    normalised = VecNormalize(env, norm_reward=False)
    model = TRPO("MlpPolicy", normalised, n_steps=n_steps, gamma=0.99, gae_lambda=0.95, seed=0)

    # True returns are for the table below; nothing that learns sees them.
    eval_env = make_vec_env(env_id, n_envs, seed=0)
    random_return = random_evaluation(eval_env, n_episodes=n_eval_episodes).mean_return
    expert_return = demonstrations.mean_return
    if expert_return is None:
        raise ValueError("these demonstrations carry no rewards: there is nothing to compare with")

    def current_score() -> float:
        mean_return = evaluate(model, eval_env, n_episodes=n_eval_episodes).mean_return
        return score(mean_return, random_return=random_return, expert_return=expert_return)

    # VecNormalize takes its statistics from the demonstrations here, and holds them.
    result = pretrain_bc(model, demonstrations, epochs=epochs, progress_bar=progress_bar)
    scores = {"cloned": current_score()}
    print(f"Cloned in {result.best_epoch + 1} epochs: score {scores['cloned']:.3f}")

    callbacks = [
        GAILCallback(discriminator, demonstrations),
        CriticWarmupCallback(5),  # rollouts that the policy does not follow
        BCAnnealingCallback(demonstrations, half_life=half_life),
    ]
    model.learn(total_timesteps, callback=callbacks, progress_bar=progress_bar)
    scores["after GAIL"] = current_score()
    print(f"After GAIL: score {scores['after GAIL']:.3f}")
    return scores


if __name__ == "__main__":
    main()
