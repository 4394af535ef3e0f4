"""EnvPool beside Gymnasium: whether they are the same environments, and how much faster one is.

    python benchmarks/fast_environments.py --demonstrations demonstrations

`demonstrations` is a folder of `<env>.npz`. Returns are those of policies cloned from them, in each of the two, with
other seeds. Timings alternate.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from sb3_contrib import TRPO
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from sb3_gail import Demonstrations
from sb3_gail.adapters import pretrain_bc
from sb3_gail.evaluation import evaluate
from sb3_gail.runs.experiment import make_model
from sb3_gail.runs.learners import VecEnvKind, make_venv
from sb3_gail.runs.settings import TrainSettings
from sb3_gail.transitions import Array

LAYOUTS: dict[str, tuple[VecEnvKind, int, int]] = {
    "DummyVecEnv 8 x 256": ("dummy", 8, 256),
    "EnvPool 8 x 256": ("envpool", 8, 256),
    "EnvPool 32 x 64": ("envpool", 32, 64),
}


def main(
    *,
    demonstrations: Path,
    envs: tuple[str, ...] = ("Hopper-v5", "Walker2d-v5", "HalfCheetah-v5", "Ant-v5", "Reacher-v5", "CartPole-v1"),
    n_episodes: int = 50,
    rounds: int = 5,
) -> None:
    """Prints the tables.

    Args:
        demonstrations: The folder of `<env>.npz`.
        envs: Which environments to compare.
        n_episodes: Episodes in each.
        rounds: How often each timing is taken.
    """
    same = Table("cloned policy in", "Gymnasium", "EnvPool", "p (Kolmogorov-Smirnov)", title=f"{n_episodes} episodes")
    for env in envs:
        same.add_row(env, *compare(env, demonstrations / f"{env}.npz", n_episodes))
    Console().print(same)
    fast = Table("Hopper-v5, steps per second", "random actions", "GAIL", "over the first, paired")
    for row in timings(demonstrations / "Hopper-v5.npz", rounds):
        fast.add_row(*row)
    Console().print(fast)


def compare(env: str, file: Path, n_episodes: int) -> tuple[str, str, str]:
    """Returns of one stochastic policy in both, and how probable so different ones are in equal environments."""
    demonstrations = Demonstrations.load(file)
    model = TRPO("MlpPolicy", VecNormalize(make_venv(env, n_envs=1, seed=0), norm_reward=False), seed=0)
    pretrain_bc(model, demonstrations, epochs=20)
    returns = []
    for kind, seed in (("dummy", 1_000), ("envpool", 2_000)):
        venv = VecNormalize(make_venv(env, n_envs=10, seed=seed, vec_env=kind), norm_reward=False, training=False)  # type: ignore[arg-type]
        own = model.get_vec_normalize_env()
        assert own is not None  # made with one above
        venv.obs_rms = own.obs_rms
        returns.append(evaluate(model, venv, n_episodes=n_episodes, deterministic=False, seed=seed).returns)
    shown = [f"{values.mean():.1f} ± {values.std():.1f}" for values in returns]
    return shown[0], shown[1], f"{equality(*returns):.2f}"


def equality(one: Array, other: Array) -> float:
    """The two-sample Kolmogorov-Smirnov test's p-value, by permutation."""
    generator = np.random.default_rng(0)
    pooled = np.concatenate([one, other])
    observed = distance(one, other)
    shuffled = [generator.permutation(pooled) for _ in range(2_000)]
    return float(np.mean([distance(rows[: len(one)], rows[len(one) :]) >= observed - 1e-12 for rows in shuffled]))


def distance(one: Array, other: Array) -> float:
    """The largest difference of two samples' distribution functions."""
    both = np.concatenate([one, other])
    shares = [np.searchsorted(np.sort(rows), both, side="right") / len(rows) for rows in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())


def timings(file: Path, rounds: int) -> list[tuple[str, str, str, str]]:
    """Medians over rounds in which each layout has its turn, and of the ratios within a round."""
    stepping: dict[str, list[float]] = {name: [] for name in LAYOUTS}
    imitating: dict[str, list[float]] = {name: [] for name in LAYOUTS}
    for _ in range(rounds):
        for name, (kind, n_envs, n_steps) in LAYOUTS.items():
            venv = make_venv("Hopper-v5", n_envs=n_envs, seed=0, vec_env=kind)
            stepping[name].append(rate(lambda venv=venv: random_steps(venv, 16_384), 16_384))  # type: ignore[misc]
            settings = TrainSettings(
                env="Hopper-v5",
                demonstrations=file,
                trajectories=4,
                subsample=20,
                n_envs=n_envs,
                vec_env=kind,
                learner={"n_steps": n_steps},
            )
            model, callbacks = make_model(settings)
            imitating[name].append(rate(partial(model.learn, 16_384, callback=callbacks), 16_384))
    first = next(iter(LAYOUTS))
    rows = []
    for name in LAYOUTS:
        ratios = [
            statistics.median(ours / theirs for ours, theirs in zip(rates[name], rates[first], strict=True))
            for rates in (stepping, imitating)
        ]
        random_rate, gail_rate = (f"{statistics.median(rates[name]):,.0f}" for rates in (stepping, imitating))
        rows.append((name, random_rate, gail_rate, f"{ratios[0]:.2f} and {ratios[1]:.2f}"))
    return rows


def random_steps(venv: VecEnv, n_steps: int) -> None:
    """Steps all copies, with actions drawn at once."""
    venv.reset()
    shape = (n_steps // venv.num_envs, venv.num_envs, *(venv.action_space.shape or ()))
    for actions in np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32):
        venv.step(actions)


def rate(what: Callable[[], object], n_steps: int) -> float:
    """Environment steps per second."""
    start = time.perf_counter()
    what()
    return n_steps / (time.perf_counter() - start)


if __name__ == "__main__":
    tyro.cli(main)
