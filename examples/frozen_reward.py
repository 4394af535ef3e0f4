"""Take a learned reward to changed dynamics: AIRL's transfers, GAIL's does not.

    python examples/frozen_reward.py

GAIL and AIRL imitate the same expert in a small maze. Each one's reward is saved, loaded and held fixed: without a
callback the reward wrapper scores every step with an adversary that no longer changes, and any SB3 learner can train on
it. A fresh agent does, in the maze as it was, in one whose door is on the other side, and in one where every action
moves the other way. What it then returns under the true reward says whether the learned reward still means the same.

The setting is that of AIRL's theory (Fu et al. 2018, section 5): deterministic dynamics, a reward of the state alone,
an expert that maximises reward and entropy, and episodes that start anywhere, so that no state is left to guesswork.
There AIRL's `g` is worth as much as the true reward in every maze. GAIL's discriminator knows what tells this expert
from this policy under these dynamics. Where the two have become alike it has no more to say, and a fresh agent fails on
it even in the same maze. Taken early, while the policy still differs, it leads there, and less far where the dynamics
have changed. Seeing states alone makes it lead everywhere or nowhere, by the seed. About a minute for each seed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from sb3_gail import Adversary, Demonstrations, Discriminator
from sb3_gail.adversaries import AIRL
from sb3_gail.callbacks import GAILCallback
from sb3_gail.evaluation import evaluate, random_evaluation, score
from sb3_gail.wrappers import GAILRewardVecWrapper

GAMMA = 0.9
TEMPERATURE = 0.3  # what a unit of entropy is worth to the expert; a step at the goal is worth 1
HORIZON = 30  # steps in an episode

DYNAMICS: dict[str, dict[str, Any]] = {
    "as learned": {},
    "door moved": {"door": 0},
    "actions reversed": {"reversed_actions": True},
}

METHODS = {"AIRL g(s)": 1.0, "GAIL D(s, a)": 1.0, "GAIL D(s, a), early": 0.125, "GAIL D(s)": 1.0}
"""The learned rewards, and for what share of the steps they are learned."""


class Maze(gym.Env[np.int64, np.int64]):
    """Two rooms and a door; each step at the goal pays 1. Episodes start anywhere and have no end but a time limit.

    A thin wall crosses the 6 x 6 cells in the middle; the goal is at the upper edge. Actions stay, or move up, right,
    down or left by a cell. So every cell can be visited whatever the dynamics, and the learned rewards know it.
    """

    size = 6
    n_states = size * size
    goal = 2

    def __init__(self, door: int = 5, reversed_actions: bool = False) -> None:
        self.observation_space = gym.spaces.Discrete(self.n_states)
        self.action_space = gym.spaces.Discrete(5)
        states = np.arange(self.n_states)[:, None]
        moves = np.array([(0, 0), (-1, 0), (0, 1), (1, 0), (0, -1)]) * (-1 if reversed_actions else 1)
        row, column = states // self.size, states % self.size
        next_row = np.clip(row + moves[:, 0], 0, self.size - 1)
        next_column = np.clip(column + moves[:, 1], 0, self.size - 1)
        crosses = (row < self.size // 2) != (next_row < self.size // 2)
        blocked = crosses & (column != door)
        self.following = np.where(blocked, states, next_row * self.size + next_column)  # [S, A]
        self.rewards = (states[:, 0] == self.goal).astype(float)  # [S], of the state that a step starts in
        self.state = np.int64(0)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.int64, dict[str, Any]]:
        """Starts in any cell."""
        super().reset(seed=seed)
        self.state = self.np_random.integers(self.n_states)
        return self.state, {}

    def step(self, action: np.int64) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        """Pays for the state that the step starts in."""
        reward = float(self.rewards[self.state])
        self.state = self.following[self.state, action]
        return self.state, reward, False, False, {}


def make_mazes(dynamics: str, *, n_envs: int, seed: int) -> VecEnv:
    """Parallel mazes with a time limit."""
    return make_vec_env(lambda: gym.wrappers.TimeLimit(Maze(**DYNAMICS[dynamics]), HORIZON), n_envs, seed=seed)


def demonstrate(n_episodes: int, *, seed: int) -> Demonstrations:
    """Episodes of the expert that AIRL's theory is about: it maximises reward and entropy (soft value iteration)."""
    maze = Maze()
    values = np.zeros(maze.n_states)
    for _ in range(500):
        action_values = maze.rewards[:, None] + GAMMA * values[maze.following]
        values = TEMPERATURE * np.logaddexp.reduce(action_values / TEMPERATURE, axis=1)
    policy = np.exp((action_values - values[:, None]) / TEMPERATURE)
    policy /= policy.sum(axis=1, keepdims=True)

    generator = np.random.default_rng(seed)
    states = generator.integers(maze.n_states, size=(1, n_episodes))  # [t + 1, N]
    actions = np.empty((0, n_episodes), int)
    for _ in range(HORIZON):
        likelihood = policy[states[-1]].cumsum(axis=1)
        chosen = (generator.random((n_episodes, 1)) < likelihood).argmax(axis=1)
        actions = np.vstack([actions, chosen])
        states = np.vstack([states, maze.following[states[-1], chosen]])
    return Demonstrations.from_arrays(
        states.T.ravel(),
        actions.T.ravel(),
        lengths=np.full(n_episodes, HORIZON),
        rewards=maze.rewards[states[:-1]].T.ravel(),
        observation_space=maze.observation_space,
        action_space=maze.action_space,
    )


def make_adversary(method: str, demonstrations: Demonstrations) -> Discriminator:
    """What imitates, with the same settings whatever the method."""
    settings: dict[str, Any] = {
        "inputs": "s" if "(s)" in method else "sa",
        "hidden_sizes": (64, 64),
        "learning_rate": (1e-3, 0.0),  # settles: g is to be exact in the end
        "batch_size": 256,
        "transitions_per_step": 32,
        "gradient_penalty": 0.0,  # it would bound the expert's advantages, and g with them
        "device": "cpu",
    }
    kind = AIRL if method.startswith("AIRL") else Discriminator
    return kind.from_demonstrations(demonstrations, **settings)


def taken_out(adversary: Discriminator) -> Adversary:
    """The reward to take elsewhere: of AIRL the learned `g` alone, without potential and likelihood."""
    return adversary.reward_only() if isinstance(adversary, AIRL) else adversary


def make_learner(env: VecEnv, *, n_steps: int, seed: int) -> PPO:
    """The same learner throughout."""
    return PPO(
        "MlpPolicy",
        env,
        n_steps=n_steps,
        batch_size=256,
        n_epochs=5,
        learning_rate=1e-3,
        gamma=GAMMA,
        ent_coef=0.01,
        seed=seed,
        device="cpu",
    )


def main(
    *,
    seeds: tuple[int, ...] = (0, 1, 2),
    n_demonstrations: int = 500,
    imitation_timesteps: int = 80_000,
    fresh_timesteps: int = 30_000,
    n_envs: int = 16,
    n_steps: int = 64,
    n_eval_episodes: int = 200,
    output: str = "runs/frozen_reward",
) -> dict[tuple[str, str], list[float]]:
    """Returns each seed's score (0: random, 1: an agent on the true reward) by learned reward and who trained where."""
    torch.set_num_threads(1)
    Path(output).mkdir(parents=True, exist_ok=True)
    columns = ["imitator", *DYNAMICS]
    scores: dict[tuple[str, str], list[float]] = {(method, name): [] for method in METHODS for name in columns}

    eval_envs = {name: make_mazes(name, n_envs=n_envs, seed=0) for name in DYNAMICS}
    random = {name: random_evaluation(env, n_episodes=n_eval_episodes).mean_return for name, env in eval_envs.items()}
    print(f"random actions return {random}")

    def true_return(agent: PPO, dynamics: str) -> float:
        return evaluate(agent, eval_envs[dynamics], n_episodes=n_eval_episodes, deterministic=False).mean_return

    for seed in seeds:
        demonstrations = demonstrate(n_demonstrations, seed=seed)

        # What can be had: agents on the true reward.
        best = {}
        for name in DYNAMICS:
            agent = make_learner(make_mazes(name, n_envs=n_envs, seed=seed), n_steps=n_steps, seed=seed)
            best[name] = true_return(agent.learn(fresh_timesteps), name)
        print(f"seed {seed}: demonstrations return {demonstrations.mean_return}, agents on the true reward {best}")

        for method, share in METHODS.items():
            # First: imitation, in the maze as it is.
            torch.manual_seed(seed)
            adversary = make_adversary(method, demonstrations)
            env = GAILRewardVecWrapper(make_mazes("as learned", n_envs=n_envs, seed=seed), adversary)
            imitator = make_learner(env, n_steps=n_steps, seed=seed)
            imitator.learn(int(share * imitation_timesteps), callback=GAILCallback(adversary, demonstrations))
            returns = {"imitator": true_return(imitator, "as learned")}
            reward_file = Path(output, f"{method}_{seed}.pt")
            taken_out(adversary).save(reward_file)

            # Another day: the reward from the file, and the wrapper alone.
            frozen = taken_out(make_adversary(method, demonstrations))
            frozen.load(reward_file)
            for name in DYNAMICS:
                env = GAILRewardVecWrapper(make_mazes(name, n_envs=n_envs, seed=seed + 1000), frozen)
                fresh = make_learner(env, n_steps=n_steps, seed=seed + 1000)
                returns[name] = true_return(fresh.learn(fresh_timesteps), name)
            print(f"seed {seed}, {method}: {returns}", flush=True)
            for name, mean_return in returns.items():
                maze = "as learned" if name == "imitator" else name
                of_seed = score(mean_return, random_return=random[maze], expert_return=best[maze])
                scores[method, name].append(of_seed)

    print(f"{'mean score (each seed)':<24}" + "".join(f"{name:<26}" for name in columns))
    for method in METHODS:
        cells = [scores[method, name] for name in columns]
        shown = [f"{np.mean(cell):.2f} ({' '.join(f'{each:.2f}' for each in cell)})" for cell in cells]
        print(f"{method:<24}" + "".join(f"{cell:<26}" for cell in shown))
    return scores


if __name__ == "__main__":
    main()
