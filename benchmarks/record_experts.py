"""Makes the benchmarks' demonstration files from the experts that the authors of GAIL published with their code.

    git clone https://github.com/openai/imitation
    python benchmarks/record_experts.py imitation/expert_policies --output demonstrations

The experts act in today's environments: actions are sampled as in the paper and clipped, episodes are seeded 0, 1, 2...
Observations that have changed since are turned into those that the experts know. The authors' Humanoid expert is taken
as redistributed in berkeleydeeprlcourse/homework_fall2023, as arrays in a `Humanoid.npz` beside the others; it acts by
its mean. `--compare` tells whether the files are the same, bit for bit, as others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import tyro

from sb3_gail.demonstrations import Demonstrations
from sb3_gail.episodes import Episode

Numbers = npt.NDArray[np.float64]

CONSTANT = 0.01
"""Inputs of the Humanoid expert that vary less are constants of the simulator, which are slightly others today."""

ACTIVATIONS: dict[str, Callable[[Numbers], Numbers]] = {
    "tanh": np.tanh,
    "lrelu": lambda inputs: np.where(inputs > 0, inputs, 0.01 * inputs),
}


@dataclass(frozen=True, eq=False)
class Expert:
    """A policy network of the authors.

    Attributes:
        mean: `[D]`, of the observations that it was trained on.
        deviation: `[D]`; inputs with 0 are ignored.
        layers: Weights `[I, O]`, biases `[O]` and activation of each hidden layer.
        output: Weights and biases of the last one: action means or logits of choices.
        log_std: `[A]` of continuous actions; `None` for choices.
    """

    mean: Numbers
    deviation: Numbers
    layers: tuple[tuple[Numbers, Numbers, Callable[[Numbers], Numbers]], ...]
    output: tuple[Numbers, Numbers]
    log_std: Numbers | None

    def forward(self, observation: Numbers) -> Numbers:
        """Action means `[A]`, or logits of choices."""
        varies = self.deviation > 0
        hidden = np.where(varies, (observation - self.mean) / np.where(varies, self.deviation, 1.0), 0.0)
        for weights, biases, activation in self.layers:
            hidden = activation(hidden @ weights + biases)
        outputs: Numbers = hidden @ self.output[0] + self.output[1]
        return outputs

    def act(self, observation: Numbers, generator: np.random.Generator, *, deterministic: bool) -> Any:
        """An action, before clipping."""
        outputs = self.forward(observation)
        if self.log_std is None:
            shares = np.exp(outputs - outputs.max())
            return int(generator.choice(len(shares), p=shares / shares.sum()))
        if deterministic:
            return outputs
        return outputs + np.exp(self.log_std) * generator.standard_normal(outputs.shape)


def load_h5(path: Path, snapshot: str) -> Expert:
    """Reads a policy as openai/imitation stores it."""
    import h5py

    with h5py.File(path) as file:
        (policy,) = file["snapshots"][snapshot].values()
        specification = json.loads(json.loads(file.attrs["args"])["policy_hidden_spec"])
        # They alternate: a layer, and what follows it.
        activations = [ACTIVATIONS[part["func"]] for part in specification if part["type"] == "nonlin"]
        statistics = policy["obsnorm/Standardizer"]
        mean = statistics["mean_1_D"][0]
        hidden = [policy[f"hidden/FeedforwardNet/layer_{2 * layer}/AffineLayer"] for layer in range(len(activations))]
        return Expert(
            mean,
            np.sqrt(np.maximum(statistics["meansq_1_D"][0] - mean**2, 0.0)),
            tuple(
                (layer["W"][()], layer["b"][0], activation)
                for layer, activation in zip(hidden, activations, strict=True)
            ),
            (policy["out/AffineLayer/W"][()], policy["out/AffineLayer/b"][0]),
            policy["logstdevs_1_Da"][0] if "logstdevs_1_Da" in policy else None,
        )


def load_npz(path: Path) -> Expert:
    """Reads the Humanoid expert."""
    with np.load(path, allow_pickle=False) as arrays:
        activation = ACTIVATIONS[str(arrays["nonlinearity"])]
        deviation = arrays["obs_std"][0]
        return Expert(
            arrays["obs_mean"][0],
            np.where(deviation < CONSTANT, 0.0, deviation),
            tuple((arrays[f"hidden{layer}_W"], arrays[f"hidden{layer}_b"][0], activation) for layer in range(2)),
            (arrays["out_W"], arrays["out_b"][0]),
            arrays["log_std"][0],
        )


def _as_it_is(observation: Numbers) -> Numbers:
    return observation


def _acrobot(observation: Numbers) -> Numbers:
    """Two angles, of which today's has cosine and sine, and their velocities."""
    cosines, sines = observation[[0, 2]], observation[[1, 3]]
    return np.concatenate([np.arctan2(sines, cosines), observation[4:]])


def _ant(observation: Numbers) -> Numbers:
    """The world body's contact forces are gone."""
    return np.insert(observation, [27] * 6, 0.0)


def _reacher(observation: Numbers) -> Numbers:
    """The last coordinate, always 0, is gone."""
    return np.append(observation, 0.0)


def _humanoid(observation: Numbers) -> Numbers:
    """The world body's inertia, velocity, actuator and contact forces are gone."""
    return np.insert(observation, [45] * 10 + [175] * 6 + [253] * 6 + [270] * 6, 0.0)


@dataclass(frozen=True)
class Source:
    """Where an environment's expert is, and how it is recorded."""

    file: str
    snapshot: str = "iter0000500"
    episodes: int = 25
    observe: Callable[[Numbers], Numbers] = _as_it_is
    deterministic: bool = False

    def load(self, folder: Path) -> Expert | None:
        """The expert; `None` if its file is nowhere in the folder."""
        for path in sorted(folder.rglob(self.file)):
            return load_npz(path) if path.suffix == ".npz" else load_h5(path, self.snapshot)
        return None


SOURCES = {
    "Acrobot-v1": Source("Acrobot-v0.h5", "iter0000100", episodes=10, observe=_acrobot),
    "CartPole-v1": Source("CartPole-v0.h5", "iter0000100", episodes=10),
    "MountainCar-v0": Source("MountainCar-v0.h5", "iter0000100", episodes=10),
    "Ant-v5": Source("log_Ant-v1_0.h5", observe=_ant),
    "HalfCheetah-v5": Source("log_HalfCheetah-v0_2.h5"),
    "Hopper-v5": Source("log_Hopper-v0_3.h5"),
    "Humanoid-v5": Source("Humanoid.npz", observe=_humanoid, deterministic=True),
    "Reacher-v5": Source("log_Reacher-v1_4.h5", observe=_reacher),
    "Walker2d-v5": Source("walker_eb5b2e_1.h5", "iter0000480"),
}


def record(env_id: str, source: Source, expert: Expert, n_episodes: int) -> Demonstrations:
    """Plays episodes with an expert."""
    env = gym.make(env_id)
    generator = np.random.default_rng(0)
    episodes = [_play(env, seed, source, expert, generator) for seed in range(n_episodes)]
    env.close()
    return Demonstrations.from_episodes(episodes, env_id=env_id)


def _play(env: gym.Env[Any, Any], seed: int, source: Source, expert: Expert, generator: np.random.Generator) -> Episode:
    space = env.action_space
    observation, _ = env.reset(seed=seed)
    observations, actions, rewards = [observation], [], []
    terminated = truncated = False
    while not (terminated or truncated):
        seen = source.observe(np.asarray(observation, dtype=np.float64))
        action = expert.act(seen, generator, deterministic=source.deterministic)
        if isinstance(space, gym.spaces.Box):
            action = np.clip(action, space.low, space.high).astype(np.float32)
        observation, reward, terminated, truncated, _ = env.step(action)
        observations.append(observation)
        actions.append(action)
        rewards.append(float(reward))
    return Episode(
        observations=np.array(observations, dtype=np.float32),
        actions=np.array(actions),
        rewards=np.array(rewards),
        terminated=terminated,
        truncated=truncated,
    )


def differences(ours: Demonstrations, theirs: Demonstrations) -> Mapping[str, str]:
    """What differs in the episodes that both have; nothing, if they are the same bit for bit."""
    n_episodes = min(ours.n_episodes, theirs.n_episodes)
    ours, theirs = ours.take(n_episodes), theirs.take(n_episodes)
    found: dict[str, str] = {}
    for name in ("lengths", "terminated", "truncated", "observations", "actions", "rewards"):
        here, there = getattr(ours.whole, name), getattr(theirs.whole, name)
        if here.shape != there.shape:
            found[name] = f"{list(here.shape)} instead of {list(there.shape)}"
        elif not np.array_equal(here, there):
            distance = np.abs(here.astype(np.float64) - there.astype(np.float64))
            found[name] = f"{np.count_nonzero(distance)} of {distance.size} numbers, by up to {distance.max():.3g}"
    return found


def main(
    experts: Path,
    /,
    *,
    output: Path = Path("demonstrations"),
    envs: tuple[str, ...] = tuple(SOURCES),
    episodes: int | None = None,
    compare: Path | None = None,
) -> None:
    """Records the experts.

    Args:
        experts: The folder of the authors' policies: `expert_policies` in a checkout of openai/imitation.
        output: The folder to write `<env>.npz` files to.
        envs: Which environments.
        episodes: How many episodes of each; by default 25, in classic control 10.
        compare: A folder of such files to compare the new ones with, episode by episode as far as both go.
    """
    unknown = [env for env in envs if env not in SOURCES]
    if unknown:
        raise ValueError(f"envs must be some of {', '.join(SOURCES)}, got {unknown[0]!r}")
    for env in envs:
        source = SOURCES[env]
        expert = source.load(experts)
        if expert is None:
            print(f"{env}: not recorded, there is no {source.file} in {experts}")
            continue
        recorded = record(env, source, expert, episodes or source.episodes)
        recorded.save(output / f"{env}.npz")
        print(f"{output / f'{env}.npz'}: {recorded}")
        if compare is not None:
            found = differences(recorded, Demonstrations.load(compare / f"{env}.npz"))
            print("  " + ("; ".join(f"{name}: {how}" for name, how in found.items()) or "the same, bit for bit"))


if __name__ == "__main__":
    tyro.cli(main)
