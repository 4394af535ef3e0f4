"""With the `imitation` library: its trajectories, its behavioural cloning and its reward networks.

    pip install 'sb3-gail[imitation]'           # brings stable-baselines3 2.2.1 and gymnasium 0.29.1
    pip install --no-deps imitation==1.0.1      # or this, beside the current ones
    python examples/imitation_interop.py

Whoever has `imitation`'s data or networks can keep them; the training loop stays SB3's.
"""

from __future__ import annotations

import gymnasium as gym
import torch
from imitation.rewards.reward_nets import BasicRewardNet
from sb3_contrib import TRPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.utils import set_random_seed

from sb3_gail import Demonstrations, Discriminator
from sb3_gail.adapters import (
    RewardNetNetwork,
    from_imitation_trajectories,
    pretrain_bc,
    to_imitation_trajectories,
    to_imitation_transitions,
)
from sb3_gail.callbacks import GAILCallback
from sb3_gail.data import shipped
from sb3_gail.evaluation import evaluate
from sb3_gail.wrappers import GAILRewardVecWrapper


def main(
    *,
    env_id: str = "CartPole-v1",
    total_timesteps: int = 60_000,
    n_envs: int = 8,
    n_steps: int = 256,
    epochs: int = 100,
    n_eval_episodes: int = 20,
    progress_bar: bool = True,
) -> float:
    """Returns the mean true return of the trained agent."""
    torch.set_num_threads(1)
    set_random_seed(0)  # before the discriminator draws its first weights

    # Their trajectories: here made of our demonstrations, elsewhere from imitation.data.rollout (exclude_infos=False:
    # the infos say which episodes a time limit ended) or serialize.load.
    trajectories = to_imitation_trajectories(Demonstrations.load(shipped(env_id)))
    print(f"{len(trajectories)} x {type(trajectories[0]).__name__}, the first with {len(trajectories[0])} steps")

    # ... become demonstrations, whose spaces come from the environment that the id names.
    demonstrations = from_imitation_trajectories(trajectories, env_id=env_id).take(4).subsample(10)

    # One of their reward networks serves as the discriminator's: its output is the logit.
    reward_net = BasicRewardNet(
        demonstrations.observation_space, demonstrations.action_space, use_done=False, hid_sizes=(64, 64)
    )
    discriminator = Discriminator.from_demonstrations(
        demonstrations, network=lambda encoder: RewardNetNetwork(encoder, reward_net)
    )
    env = GAILRewardVecWrapper(make_vec_env(env_id, n_envs, seed=0), discriminator)
    model = TRPO("MlpPolicy", env, n_steps=n_steps, seed=0)

    # Their behavioural cloning, on the model's own policy.
    pretrain_bc(model, demonstrations, backend="imitation", epochs=epochs, progress_bar=progress_bar)
    model.learn(total_timesteps, callback=GAILCallback(discriminator, demonstrations), progress_bar=progress_bar)

    # What the agent does goes back to them as well, as one batch of transitions.
    recorded = Demonstrations.from_agent(model, gym.make(env_id), n_eval_episodes, deterministic=True)
    print(f"{len(to_imitation_transitions(recorded))} transitions of the agent for imitation")

    mean_return = evaluate(model, gym.make(env_id), n_episodes=n_eval_episodes).mean_return
    print(f"The agent returns {mean_return:.1f}, the demonstrations {demonstrations.mean_return}")
    return mean_return


if __name__ == "__main__":
    main()
