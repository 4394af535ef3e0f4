"""GAIL by the `imitation` library beside ours: the same demonstrations, environments, learner and evaluation.

    python benchmarks/versus_imitation.py --env Hopper-v5 --demonstrations demonstrations/Hopper-v5.npz

Every run is a process of its own, one at a time and in turn, so that all meet the same machine and peak memory is a
run's own. Times are of training alone: evaluations stop the clock. What was run stays in `--results` and is not run
again.

- `ours`: `sb3-gail train` as it is, on SB3's `DummyVecEnv`; `ours-envpool` the same on EnvPool.
- `trpo-envpool`: its learner on the environment's own reward. No adversary, however cheap, makes GAIL faster than that.
- `imitation-ours`: our settings as far as its API takes them: TRPO's, the discriminator's network, optimiser, batches
  and number of steps, and the shrinking trust region. It has no gradient penalty, no absorbing states and no schedule
  of the discriminator's rate, normalises by running statistics, and calls `learn()` once a round.
- `imitation-published`: the discriminator, rollouts, discount and policy network that its authors tuned for GAIL on
  this task (its `tuned_hps`, else the defaults of its script), with TRPO.
- `imitation-published-ppo`: all that they published, with their PPO.

`imitation` 1.0.1 runs beside current Stable-Baselines3: `pip install --no-deps imitation`, and `pip install
tensorboard`, which its adversarial algorithms import.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
import tyro
from main_path import each_and_median, first_held
from paper_job import machine
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from sb3_gail.adapters.imitation import to_imitation_transitions
from sb3_gail.adversaries import DiscriminatorConfig
from sb3_gail.demonstrations import Demonstrations
from sb3_gail.evaluation import evaluate, random_evaluation, score
from sb3_gail.json_files import read_json, write_json
from sb3_gail.runs import Point
from sb3_gail.runs.experiment import load_demonstrations, make_model, make_plain_model
from sb3_gail.runs.learners import (
    falling_target_kl,
    imitating_policy,
    learner_class,
    learner_settings,
    make_venv,
    rollout_settings,
)
from sb3_gail.runs.settings import TrainSettings
from sb3_gail.schedules import value_at

Variant = Literal[
    "ours", "ours-envpool", "trpo-envpool", "imitation-ours", "imitation-published", "imitation-published-ppo"
]

_CHILD = "import sys, pathlib, versus_imitation; versus_imitation.run_folder(pathlib.Path(sys.argv[1]))"

SCORES = (0.5, 0.8, 0.95)
HELD = 3
"""Evaluations in a row that have to reach a score."""

TUNED = {"Ant-v5": "ant", "HalfCheetah-v5": "half_cheetah", "Hopper-v5": "hopper", "Walker2d-v5": "walker"}
"""The tasks for which `imitation` has tuned settings; they were tuned on `seals`, where episodes have one length."""


@dataclass(frozen=True)
class Settings:
    """One run.

    Attributes:
        variant: Whose GAIL, with which settings.
        env: The Gymnasium id.
        demonstrations: Their file.
        trajectories: How many of its trajectories.
        subsample: One transition in so many.
        timesteps: Environment steps.
        n_envs: Copies of the environment.
        seed: Of everything.
        eval_freq: Environment steps between evaluations.
        n_eval_episodes: Deterministic episodes of an evaluation.
    """

    variant: Variant
    env: str
    demonstrations: Path
    trajectories: int
    subsample: int
    timesteps: int
    n_envs: int
    seed: int
    eval_freq: int
    n_eval_episodes: int

    @property
    def ours(self) -> TrainSettings:
        """The run with our library."""
        return TrainSettings(
            env=self.env,
            vec_env="envpool" if self.variant.endswith("-envpool") else "dummy",
            demonstrations=self.demonstrations,
            trajectories=self.trajectories,
            subsample=self.subsample,
            total_timesteps=self.timesteps,
            n_envs=self.n_envs,
            seed=self.seed,
        )


@dataclass
class Clock:
    """Evaluates every so many steps and leaves the time that takes out."""

    settings: Settings
    env: VecEnv
    seconds: float = 0.0
    curve: list[tuple[int, float, float]] = field(default_factory=list)
    """Steps, seconds of training and mean return."""
    _started: float = 0.0

    def start(self) -> None:
        """Lets it run."""
        self._started = time.perf_counter()

    def tick(self, model: BaseAlgorithm) -> None:
        """Evaluates the model, if it is time."""
        last = self.curve[-1][0] if self.curve else 0
        if model.num_timesteps // self.settings.eval_freq == last // self.settings.eval_freq:
            return
        self.stop()
        played = evaluate(model, self.env, n_episodes=self.settings.n_eval_episodes)
        self.curve.append((model.num_timesteps, self.seconds, played.mean_return))
        self.start()

    def stop(self) -> None:
        """Adds the time since it was started."""
        self.seconds += time.perf_counter() - self._started


class _Ticks(BaseCallback):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def _on_training_start(self) -> None:
        self.clock.start()

    def _on_step(self) -> bool:
        self.clock.tick(self.model)
        return True


def train_ours(settings: Settings, clock: Clock) -> BaseAlgorithm:
    """Our GAIL."""
    model, callbacks = make_model(settings.ours)
    return model.learn(settings.timesteps, callback=[*callbacks, _Ticks(clock)])


def train_alone(settings: Settings, clock: Clock) -> BaseAlgorithm:
    """Our learner without an adversary."""
    return make_plain_model(settings.ours).learn(settings.timesteps, callback=_Ticks(clock))


def train_imitations(settings: Settings, clock: Clock) -> BaseAlgorithm:
    """The GAIL of `imitation`."""
    from imitation.algorithms.adversarial.gail import GAIL
    from imitation.util import logger, util

    demonstrations: Any = to_imitation_transitions(load_demonstrations(settings.ours))
    venv = util.make_vec_env(settings.env, rng=np.random.default_rng(settings.seed), n_envs=settings.n_envs)
    made = _our_trainer(settings, venv) if settings.variant == "imitation-ours" else _published(settings, venv)
    learner, reward_net, adversary = made
    if len(demonstrations) < adversary["demo_batch_size"]:
        demonstrations = Batches(demonstrations, adversary["demo_batch_size"])
    with tempfile.TemporaryDirectory() as folder:
        trainer = GAIL(
            demonstrations=demonstrations,
            venv=venv,
            gen_algo=learner,
            reward_net=reward_net,
            allow_variable_horizon=True,
            custom_logger=logger.configure(folder, format_strs=[]),
            **adversary,
        )
        trpo: Any = learner if settings.variant == "imitation-ours" else None
        target_kl = trpo and trpo.target_kl

        def after_round(_: int) -> None:
            if trpo is not None:
                remaining = max(0.0, 1.0 - learner.num_timesteps / settings.timesteps)
                trpo.target_kl = falling_target_kl(target_kl)(remaining)
            clock.tick(learner)

        clock.start()
        trainer.train(settings.timesteps, callback=after_round)
    return learner


@dataclass(frozen=True)
class Batches:
    """Random batches of demonstrations with replacement, for those that are larger than all there are together.

    `imitation`'s own loader refuses these.
    """

    demonstrations: Any
    batch_size: int

    def __iter__(self) -> Iterator[dict[str, Any]]:
        generator = np.random.default_rng(0)
        while True:
            rows = generator.integers(len(self.demonstrations), size=self.batch_size)
            yield {name: getattr(self.demonstrations, name)[rows] for name in ("obs", "acts", "next_obs", "dones")}


def _our_trainer(settings: Settings, venv: VecEnv) -> tuple[BaseAlgorithm, Any, dict[str, Any]]:
    """Learner, reward network and adversary's settings: ours, as far as the API takes them."""
    from imitation.policies.base import NormalizeFeaturesExtractor
    from imitation.rewards.reward_nets import BasicRewardNet
    from imitation.util.networks import RunningNorm

    from sb3_gail.adversaries.networks import ACTIVATIONS

    algorithm = settings.ours.algorithm
    ours = learner_settings(algorithm, rollout_settings(algorithm, settings.n_envs, venv.observation_space))
    overrides: dict[str, Any] = settings.ours.discriminator
    config = DiscriminatorConfig(**overrides)
    policy_kwargs = {
        **imitating_policy(load_demonstrations(settings.ours)).get("policy_kwargs", {}),
        "features_extractor_class": NormalizeFeaturesExtractor,
        "features_extractor_kwargs": {"normalize_class": RunningNorm},
    }
    make: Any = learner_class(algorithm)
    learner = make("MlpPolicy", venv, seed=settings.seed, device="cpu", policy_kwargs=policy_kwargs, **ours)
    reward_net = BasicRewardNet(
        venv.observation_space,
        venv.action_space,
        hid_sizes=config.hidden_sizes,
        activation=ACTIVATIONS[config.activation],
        normalize_input_layer=RunningNorm,
    )
    rollout = ours["n_steps"] * settings.n_envs
    return (
        learner,
        reward_net,
        {
            "demo_batch_size": config.batch_size,
            "n_disc_updates_per_round": max(1, rollout // config.transitions_per_step),
            "gen_replay_buffer_capacity": rollout,
            "disc_opt_kwargs": {"lr": value_at(config.learning_rate, 1.0)},
        },
    )


def _published(settings: Settings, venv: VecEnv) -> tuple[BaseAlgorithm, Any, dict[str, Any]]:
    """Learner, reward network and adversary's settings: as published with `imitation`."""
    from imitation.rewards.reward_nets import NormalizedRewardNet

    tuned = published_settings(settings.env)
    policy, learner = tuned["policy"], dict(tuned["rl"]["rl_kwargs"])
    n_steps = tuned["rl"]["batch_size"] // settings.n_envs
    make: Any = tuned["rl"]["rl_cls"]
    if settings.variant == "imitation-published":
        make = learner_class("trpo")
        theirs = {name: learner[name] for name in ("gamma", "gae_lambda") if name in learner}
        learner = learner_settings("trpo", theirs)
    gen_algo = make(
        policy["policy_cls"],
        venv,
        seed=settings.seed,
        device="cpu",
        policy_kwargs=policy["policy_kwargs"],
        n_steps=n_steps,
        **learner,
    )
    reward = tuned["reward"]
    reward_net = reward["net_cls"](venv.observation_space, venv.action_space, **reward["net_kwargs"])
    return gen_algo, NormalizedRewardNet(reward_net, reward["normalize_output_layer"]), tuned["algorithm_kwargs"]


def published_settings(env: str) -> dict[str, Any]:
    """What `imitation` publishes for GAIL on a task: tuned, or its script's defaults."""
    if env in TUNED:
        name = f"gail_seals_{TUNED[env]}_best_hp_eval.json"
        text = (files("imitation") / "scripts" / "config" / "tuned_hps" / name).read_text()
        tuned: dict[str, Any] = resolved(json.loads(text))
        return tuned
    norm = {"py/type": "imitation.util.networks.RunningNorm"}
    defaults: dict[str, Any] = resolved(
        {
            "algorithm_kwargs": {
                "demo_batch_size": 1024,
                "n_disc_updates_per_round": 4,
                "gen_replay_buffer_capacity": 2048,
            },
            "reward": {
                "net_cls": {"py/type": "imitation.rewards.reward_nets.BasicRewardNet"},
                "net_kwargs": {"normalize_input_layer": norm},
                "normalize_output_layer": norm,
            },
            "rl": {
                "batch_size": 2048,
                "rl_cls": {"py/type": "stable_baselines3.ppo.ppo.PPO"},
                "rl_kwargs": {"learning_rate": 3e-4, "batch_size": 64, "n_epochs": 10, "ent_coef": 0.0},
            },
            "policy": {"policy_cls": {"py/type": "imitation.policies.base.FeedForward32Policy"}, "policy_kwargs": {}},
        }
    )
    return defaults


def resolved(value: Any) -> Any:
    """JSON with the classes that it names, and a policy's layers in the form that SB3 takes today."""
    if isinstance(value, dict):
        if set(value) == {"py/type"}:
            module, _, name = value["py/type"].rpartition(".")
            return getattr(importlib.import_module(module), name)
        return {key: resolved(part[0] if key == "net_arch" else part) for key, part in value.items()}
    return value


_TRAIN = {"ours": train_ours, "trpo": train_alone, "imitation": train_imitations}


def run(settings: Settings) -> dict[str, Any]:
    """Trains and evaluates, in this process."""
    torch.set_num_threads(1)
    env = make_venv(settings.env, n_envs=8, seed=0)
    expert_return = Demonstrations.load(settings.demonstrations).mean_return
    random_return = random_evaluation(env).mean_return
    if expert_return is None:
        raise ValueError(f"expected demonstrations with rewards, got none in {settings.demonstrations}")
    clock = Clock(settings, env)
    model = _TRAIN[settings.variant.split("-")[0]](settings, clock)
    clock.stop()
    scored = partial(score, random_return=random_return, expert_return=expert_return)
    final = evaluate(model, env, n_episodes=50)
    return {
        "timesteps": model.num_timesteps,
        "seconds": clock.seconds,
        "curve": [(steps, seconds, scored(mean_return)) for steps, seconds, mean_return in clock.curve],
        "final_score": scored(final.mean_return),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "machine": machine(),
    }


def arrival(content: dict[str, Any], goal: float) -> tuple[int, float] | None:
    """Steps and seconds to a score that held."""
    seconds = {steps: at for steps, at, _ in content["curve"]}
    steps = first_held([Point(steps, 0.0, reached) for steps, _, reached in content["curve"]], goal, HELD)
    return None if steps is None else (steps, seconds[steps])


def rows(variant: str, contents: Sequence[dict[str, Any]]) -> list[str]:
    """A variant's row: each seed's, and the median where there is more than one."""

    def each(number: Callable[[dict[str, Any]], float | None], form: str) -> str:
        texts, median = each_and_median([number(content) for content in contents], form)
        return texts if len(contents) == 1 else f"{texts} ({median})"

    def arrived(goal: float, index: int) -> Callable[[dict[str, Any]], float | None]:
        return lambda content: None if (at := arrival(content, goal)) is None else at[index]

    return [
        variant,
        each(lambda content: content["timesteps"] / content["seconds"], ",.0f"),
        *(each(arrived(goal, 0), ",.0f") for goal in SCORES),
        *(each(arrived(goal, 1), ",.0f") for goal in SCORES),
        each(lambda content: content["final_score"], ".2f"),
        each(lambda content: content["peak_mib"], ",.0f"),
    ]


def main(
    env: str = "Hopper-v5",
    demonstrations: Path = Path("demonstrations/Hopper-v5.npz"),
    trajectories: int = 4,
    subsample: int = 20,
    timesteps: int = 1_000_000,
    n_envs: int = 32,
    seeds: tuple[int, ...] = (0, 1, 2),
    variants: tuple[Variant, ...] = get_args(Variant),
    eval_freq: int = 20_000,
    n_eval_episodes: int = 10,
    results: Path = Path("runs/versus_imitation"),
) -> None:
    """Runs what is not run yet, and prints a row for each variant.

    Args:
        env: The Gymnasium id.
        demonstrations: Their file.
        trajectories: How many of its trajectories, the first ones.
        subsample: One transition in so many.
        timesteps: Environment steps of each run.
        n_envs: Copies of the environment.
        seeds: A run of each variant for each.
        variants: Which.
        eval_freq: Environment steps between evaluations.
        n_eval_episodes: Deterministic episodes of an evaluation.
        results: Where the runs' results are, old ones and new ones.
    """
    if not demonstrations.is_file():
        sys.exit(f"there is no {demonstrations}: make it with record_experts.py, or give a file of yours")
    for seed in seeds:
        for variant in variants:
            settings = Settings(
                variant=variant,
                env=env,
                demonstrations=demonstrations,
                trajectories=trajectories,
                subsample=subsample,
                timesteps=timesteps,
                n_envs=n_envs,
                seed=seed,
                eval_freq=eval_freq,
                n_eval_episodes=n_eval_episodes,
            )
            _run_apart(settings, results / env / f"{variant}-{seed}")
    table = Table(title=f"{env}, {trajectories} trajectories, one transition in {subsample}", title_justify="left")
    columns = [
        "variant",
        "steps/s",
        *(f"steps to {goal}" for goal in SCORES),
        *(f"seconds to {goal}" for goal in SCORES),
    ]
    for column in (*columns, "final score", "peak MiB"):
        table.add_column(column)
    for variant in variants:
        found = [results / env / f"{variant}-{seed}" / "result.json" for seed in seeds]
        contents = [read_json(file) for file in found if file.is_file()]
        table.add_row(*(rows(variant, contents) if contents else [variant, "failed"]))
    Console(width=200).print(table)


def run_folder(folder: Path) -> None:
    """Does what a folder's `settings.json` says, in this process."""
    values = read_json(folder / "settings.json")
    settings = Settings(**{**values, "demonstrations": Path(values["demonstrations"])})
    write_json(folder / "result.json", run(settings))


def _run_apart(settings: Settings, folder: Path) -> None:
    """Runs one in a process of its own, unless it has been; a failure leaves a log and no result."""
    file = folder / "settings.json"
    values = asdict(settings) | {"demonstrations": str(settings.demonstrations.resolve())}
    if file.is_file() and read_json(file) != values:
        raise ValueError(f"{folder} has a run with other settings: use another folder for these results")
    if (folder / "result.json").is_file():
        return
    write_json(file, values)
    here = str(Path(__file__).parent)
    with (folder / "log.txt").open("wb") as log:
        status = subprocess.run(
            [sys.executable, "-c", _CHILD, str(folder)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={
                "OMP_NUM_THREADS": "1",
                **os.environ,
                "PYTHONPATH": os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]),
            },
            check=False,
        ).returncode
    outcome = "done" if status == 0 else f"failed with status {status}, see its log.txt"
    print(f"{folder}: {outcome}", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
