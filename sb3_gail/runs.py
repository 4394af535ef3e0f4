"""A run and its folder: everything from settings to a trained, evaluated agent, which can go on where it stopped."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger, make_output_format
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from sb3_gail.adapters.bc import pretrain_bc
from sb3_gail.callbacks import (
    BCAnnealingCallback,
    CriticWarmupCallback,
    GAILCallback,
    ImitationCheckpointCallback,
    ImitationEvalCallback,
    TargetKLCallback,
    WandbCallback,
)
from sb3_gail.checkpoint import load_checkpoint
from sb3_gail.data import shipped
from sb3_gail.demonstrations import Demonstrations
from sb3_gail.evaluation import evaluate, random_evaluation, score
from sb3_gail.files import replacing
from sb3_gail.json_files import read_json, write_json
from sb3_gail.learners import (
    ON_POLICY,
    choose_n_envs,
    choose_vec_env,
    falling_target_kl,
    imitating_policy,
    is_normalised,
    learner_class,
    learner_settings,
    make_learner,
    make_venv,
    rollout_settings,
)
from sb3_gail.named_adversaries import adversary_settings, make_adversary
from sb3_gail.settings import ExpertSettings, RunSettings, TrainSettings, read_settings, write_settings
from sb3_gail.spaces import single_precision_space
from sb3_gail.wrappers import GAILRewardVecWrapper

_STEPS = "time/total_timesteps"

_Settings = TypeVar("_Settings", bound=RunSettings)

_WARMUP = 10_240
"""Environment steps in which critic and discriminator catch up with a cloned policy."""


class Point(NamedTuple):
    """One evaluation in a learning curve."""

    timesteps: int
    mean_return: float
    score: float | None


class Run:
    """A folder that `train` or `train_expert` wrote, finished or not.

    Args:
        path: The folder.

    Raises:
        FileNotFoundError: If there is no run there.
        ValueError: If its settings cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        file = self.path / "settings.json"
        if not file.is_file():
            raise FileNotFoundError(f"expected the folder of a run, with a settings.json in it, got {str(path)!r}")
        self.settings = read_settings(file)

    @property
    def checkpoint(self) -> Path:
        """The last checkpoint of policy and adversary."""
        return self.path / "checkpoint.zip"

    @property
    def model(self) -> Path:
        """The final model, as SB3 saves it; there once the run has ended, with its `vecnormalize.pkl` beside it."""
        return self.path / "model.zip"

    @property
    def baselines(self) -> dict[str, float | None]:
        """Mean returns of `random` actions and of the `demonstrations` (none if they carry no rewards)."""
        baselines: dict[str, float | None] = read_json(self.path / "baselines.json")
        return baselines

    @property
    def evaluation(self) -> dict[str, Any]:
        """The final evaluation: `timesteps`, `mean_return`, `score`, each episode's `returns`..."""
        evaluation: dict[str, Any] = read_json(self.path / "evaluation.json")
        return evaluation

    def progress(self) -> list[dict[str, float]]:
        """All that the logger recorded: a row for each time that it wrote.

        A resumed run has a CSV file for each of its parts. What was logged after the checkpoint from which the next
        part goes on is left out, because that part did it again.
        """
        parts = sorted((_start_of(file), file) for file in self.path.glob("progress*.csv"))
        ends = [start for start, _ in parts[1:]]
        return [
            row
            for (_, file), end in zip(parts, [*ends, float("inf")], strict=False)
            for row in _read_log(file)
            if row[_STEPS] <= end
        ]

    def curve(self) -> list[Point]:
        """The evaluations while training."""
        return [
            Point(int(row[_STEPS]), row["eval/mean_reward"], row.get("eval/score"))
            for row in self.progress()
            if "eval/mean_reward" in row
        ]


def train(settings: TrainSettings, *, progress: bool = False) -> Run:
    """Trains an agent to imitate, in one `learn()`, and evaluates it.

    Its folder then holds `settings.json`, `baselines.json`, `progress.csv` (SB3's log), `checkpoint.zip` (policy and
    adversary together, to resume from), the trained `model.zip`, `vecnormalize.pkl` and `discriminator.pt`, and
    `evaluation.json`.

    Args:
        settings: All there is to choose.
        progress: Whether to print where the run is, each evaluation and SB3's progress bar.

    Raises:
        ValueError: If the demonstrations do not fit the environment, or a setting is wrong.
        OSError: If the demonstrations cannot be read or the folder cannot be written.
    """
    experiment = _Experiment(settings)
    model = experiment.make()
    if settings.wandb_project is not None:
        WandbCallback(experiment.callback)  # which says so if W&B is missing
    # Last, so that whatever is wrong leaves no folder behind.
    folder = _new_folder(settings)
    write_settings(folder / "settings.json", experiment.settings)
    if progress and experiment.settings.discriminator:
        chosen = ", ".join(f"{name} {value}" for name, value in experiment.settings.discriminator.items())
        print(f"{experiment.settings.adversary} with {chosen}")
    return _train(Run(folder), experiment, model, progress)


def resume(path: str | Path, *, progress: bool = False) -> Run:
    """Goes on with a run from its last checkpoint, to the end that its settings say; a finished one stays as it is.

    Args:
        path: The run's folder.
        progress: Whether to print where the run is, each evaluation and SB3's progress bar.

    Raises:
        FileNotFoundError: If there is no run there.
        ValueError: If it is an expert's, which are not resumed.
    """
    run = Run(path)
    if not isinstance(run.settings, TrainSettings):
        raise ValueError(f"expected a run of `sb3-gail train`, got an expert's: {run.path}; train it again")
    if run.model.is_file():
        return run
    experiment = _Experiment(run.settings)
    model = experiment.load(run.checkpoint) if run.checkpoint.is_file() else experiment.make()
    return _train(run, experiment, model, progress)


def train_expert(settings: ExpertSettings, *, progress: bool = False) -> Run:
    """Trains an agent on the environment's own reward and evaluates it.

    Its folder then holds `settings.json`, `progress.csv`, `model.zip`, `vecnormalize.pkl` and `evaluation.json`.

    Args:
        settings: All there is to choose.
        progress: Whether to print where the run is, each evaluation and SB3's progress bar.

    Raises:
        ValueError: If there is no such environment, or a setting is wrong.
        OSError: If the folder cannot be written.
    """
    settings = _chosen(settings)
    model = make_plain_model(settings)
    folder = _new_folder(settings)
    write_settings(folder / "settings.json", settings)
    run = Run(folder)
    _learn(run, model, [], progress)
    _finish(run, model, {})
    return run


def load_agent(path: str | Path, *, env: str | None = None, algorithm: str | None = None) -> BaseAlgorithm:
    """A trained agent, on one copy of its environment with the `VecNormalize` statistics that it was trained with.

    Args:
        path: A run's folder, for the agent as it is at the end or, if the run has not ended, in its last checkpoint; or
            a model that SB3 saved, with its statistics beside it if it needs some: `vecnormalize.pkl`, or named after
            the model, such as `best_vecnormalize.pkl` or `rl_model_vecnormalize_1000_steps.pkl`.
        env: The Gymnasium id of the environment; by default the run's.
        algorithm: Which class the model is of; by default the run's.

    Raises:
        FileNotFoundError: If there is no such file or run, or the run was stopped before its first checkpoint.
        ValueError: If it is a model and `env` or `algorithm` is not given, or the file is no model of that algorithm.
    """
    path = Path(path)
    if path.is_file():
        if env is None or algorithm is None:
            raise ValueError(
                f"a saved model does not say what it is: give env and algorithm, got {env!r} and {algorithm!r}"
            )
        return _load_model(path, algorithm, make_venv(env, n_envs=1, seed=0))
    run = Run(path)
    env = env or run.settings.env
    # In EnvPool if it was trained there and EnvPool is here.
    on_envpool = env == run.settings.env and run.settings.vec_env == "envpool"
    settings = replace(run.settings, env=env, vec_env=choose_vec_env(env, "auto" if on_envpool else "dummy"), n_envs=1)
    if run.model.is_file():
        return _load_model(run.model, settings.algorithm, _make_venv(settings))
    if not isinstance(settings, TrainSettings) or not run.checkpoint.is_file():
        raise FileNotFoundError(f"the run was stopped before it saved anything: {run.path}")
    return _Experiment(settings).load(run.checkpoint)


def _statistics_of(model: Path) -> Path:
    """The `VecNormalize` of a saved model: named after it by our callbacks or by SB3's, else the folder's only one."""
    names = [model.stem.replace("model", normaliser) for normaliser in ("vecnormalize", "model_vecnormalize")]
    candidates = [model.with_name(f"{name}.pkl") for name in names if name != model.stem]
    return next((path for path in candidates if path.is_file()), model.with_name("vecnormalize.pkl"))


def _load_model(path: Path, algorithm: str, venv: VecEnv) -> BaseAlgorithm:
    statistics = _statistics_of(path)
    learner = learner_class(algorithm)
    try:
        if statistics.is_file():
            venv = VecNormalize.load(str(statistics), venv)
        here, trained_on = venv.observation_space, learner.load(path, device="cpu").observation_space
        # SB3 compares dtypes too: EnvPool's environments are in single precision, Gymnasium's often in double.
        same = single_precision_space(here) == single_precision_space(trained_on)
        return learner.load(
            path, env=venv, device="cpu", custom_objects={"observation_space": here if same else trained_on}
        )
    except (AssertionError, AttributeError, KeyError, RuntimeError, TypeError) as error:
        raise ValueError(f"expected a model of {algorithm} that SB3 saved, got {str(path)!r}: {error}") from error


def read_demonstrations(path: Path) -> Demonstrations:
    """All demonstrations in a file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"expected a file of demonstrations, got {str(path)!r}; give the path of one, such as `sb3-gail record` "
            f"writes"
        )
    return Demonstrations.load(path)


def load_demonstrations(settings: TrainSettings) -> Demonstrations:
    """The demonstrations that a run uses: the part, the subsample and the control that its settings say.

    Raises:
        OSError: If their file cannot be read.
        ValueError: If none ship for the environment, the file holds something else, or fewer than `trajectories`.
    """
    demonstrations = read_demonstrations(settings.demonstrations or shipped(settings.env))
    if settings.trajectories is not None:
        if settings.trajectories > demonstrations.n_episodes:
            raise ValueError(
                f"trajectories must be at most {demonstrations.n_episodes}, the episodes that there are, got "
                f"{settings.trajectories}"
            )
        demonstrations = demonstrations.take(settings.trajectories)
    if settings.subsample > 1:
        demonstrations = demonstrations.subsample(settings.subsample, seed=settings.seed)
    if settings.shuffle_demonstrations:
        demonstrations = demonstrations.shuffled(settings.seed)
    return demonstrations


def make_model(settings: TrainSettings) -> tuple[BaseAlgorithm, list[BaseCallback]]:
    """A fresh learner on an environment that pays a fresh adversary's reward, and the callbacks to imitate with."""
    experiment = _Experiment(settings)
    return experiment.make(), [experiment.callback, *experiment.settling]


def make_plain_model(settings: RunSettings) -> BaseAlgorithm:
    """A fresh learner on the same environments with their own reward, whatever there is to imitate."""
    torch.set_num_threads(settings.threads)
    settings = _chosen(settings)
    return _make_model(settings, _make_venv(settings))


class _Experiment:
    """What training needs, made from its settings."""

    def __init__(self, settings: TrainSettings) -> None:
        torch.set_num_threads(settings.threads)
        settings = _chosen(settings)
        # Before the demonstrations: for an environment that does not exist, none are to be recorded.
        venv = _make_venv(settings)
        demonstrations = load_demonstrations(settings)
        demonstrations.check_spaces(venv.observation_space, venv.action_space)
        chosen = adversary_settings(
            settings.adversary,
            demonstrations.action_space,
            settings.discriminator,
            reaches_goal=partial(_reaches_goal, settings, demonstrations),
        )
        self.settings = settings = replace(settings, discriminator=chosen)
        torch.manual_seed(settings.seed)
        adversary = make_adversary(settings.adversary, demonstrations, chosen, device=settings.device)
        self.callback = GAILCallback(adversary, demonstrations, replay_rollouts=settings.replay_rollouts)
        self.settling = _settling(settings)
        self._venv = GAILRewardVecWrapper(venv, adversary)

    def make(self) -> BaseAlgorithm:
        """The learner at the start."""
        return _make_model(self.settings, self._venv, imitating_policy(self.callback.demonstrations))

    def load(self, checkpoint: Path) -> BaseAlgorithm:
        """The learner as it was."""
        venv = _normalised(self.settings, self._venv)
        return load_checkpoint(
            checkpoint, learner_class(self.settings.algorithm), venv, self.callback, device=self.settings.device
        )


def _train(run: Run, experiment: _Experiment, model: BaseAlgorithm, progress: bool) -> Run:
    settings, gail = experiment.settings, experiment.callback
    if settings.pretrain and not run.checkpoint.is_file():
        pretrain_bc(model, gail.demonstrations, progress_bar=progress, seed=settings.seed)
    baselines = _measure_baselines(run, gail.demonstrations)
    callbacks: list[BaseCallback] = [
        gail,
        ImitationEvalCallback(
            _eval_env(settings),
            gail.demonstrations,
            eval_freq=settings.eval_freq,
            n_eval_episodes=settings.n_eval_episodes,
            random_return=baselines["random"],
            verbose=int(progress),
        ),
        *experiment.settling,
        *(_keeping_cloned(model, gail.demonstrations) if settings.pretrain else []),
        # After those that change the policy between rollouts.
        ImitationCheckpointCallback(gail, run.checkpoint, save_freq=settings.checkpoint_freq),
    ]
    if settings.wandb_project is not None:
        callbacks.append(_wandb_callback(run, gail, settings.wandb_project))
    _learn(run, model, callbacks, progress)
    gail.adversary.save(run.path / "discriminator.pt")
    _finish(run, model, baselines)
    return run


def _settling(settings: TrainSettings) -> list[BaseCallback]:
    """What lets TRPO come to rest at the expert."""
    if settings.algorithm != "trpo":
        return []
    target_kl = learner_settings(settings.algorithm, settings.learner)["target_kl"]
    return [TargetKLCallback(falling_target_kl(target_kl))]


def _keeping_cloned(model: BaseAlgorithm, demonstrations: Demonstrations) -> list[BaseCallback]:
    """What keeps GAIL from undoing behavioural cloning: see `examples/bc_then_gail.py`."""
    rollout = model.n_envs * model.n_steps  # type: ignore[attr-defined]  # all that imitate collect rollouts
    n_rollouts = -(-(_WARMUP - model.num_timesteps) // rollout)
    warmup = [CriticWarmupCallback(n_rollouts)] if n_rollouts > 0 else []
    return [*warmup, BCAnnealingCallback(demonstrations)]


def _wandb_callback(run: Run, gail: GAILCallback, project: str) -> WandbCallback:
    """All parts of a resumed run go to one run of W&B."""
    identity = run.path / "wandb_id.txt"
    if not identity.is_file():
        identity.write_text(uuid4().hex)
    config = read_json(run.path / "settings.json")
    return WandbCallback(
        gail,
        project=project,
        name=run.path.resolve().name,
        dir=str(run.path),
        config=config,
        id=identity.read_text(),
        resume="allow",
    )


def _learn(run: Run, model: BaseAlgorithm, callbacks: Sequence[BaseCallback], progress: bool) -> None:
    """The one `learn()` of a run. Each part of a resumed run has a log of its own, named after its first step."""
    if progress:
        print(f"The run is in {run.path}")
        where = "EnvPool" if run.settings.vec_env == "envpool" else "DummyVecEnv"
        print(f"{run.settings.n_envs} environments of {run.settings.env} in {where} (--vec-env {run.settings.vec_env})")
    log = f"-{model.num_timesteps}" if model.num_timesteps else ""
    model.set_logger(Logger(str(run.path), [make_output_format("csv", str(run.path), log)]))
    try:
        model.learn(
            max(0, run.settings.total_timesteps - model.num_timesteps),
            callback=list(callbacks),
            reset_num_timesteps=False,
            progress_bar=progress,
        )
    finally:
        model.logger.close()


def _make_model(settings: RunSettings, venv: VecEnv, defaults: Mapping[str, Any] | None = None) -> BaseAlgorithm:
    chosen = {**(defaults or {}), **learner_settings(settings.algorithm, settings.learner)}
    venv = _normalised(settings, venv)
    return make_learner(settings.algorithm, venv, chosen, seed=settings.seed, device=settings.device)


def _normalised(settings: RunSettings, venv: VecEnv) -> VecEnv:
    """With observations normalised where that helps, and an expert's rewards, whose scale is the environment's."""
    if settings.algorithm not in ON_POLICY or not is_normalised(venv.observation_space):
        return venv
    return VecNormalize(venv, norm_reward=isinstance(settings, ExpertSettings))


def _chosen(settings: _Settings) -> _Settings:
    """With what the environment decides where nothing is said."""
    n_envs = _n_envs(settings)
    learner = {**rollout_settings(settings.algorithm, n_envs), **settings.learner}
    return replace(settings, vec_env=choose_vec_env(settings.env, settings.vec_env), n_envs=n_envs, learner=learner)


def _n_envs(settings: RunSettings) -> int:
    return choose_n_envs(settings.env, settings.n_envs, settings.vec_env)


def _make_venv(settings: RunSettings) -> VecEnv:
    return make_venv(settings.env, n_envs=_n_envs(settings), seed=settings.seed, vec_env=settings.vec_env)


def _eval_env(settings: RunSettings) -> VecEnv:
    return _make_venv(replace(settings, n_envs=min(_n_envs(settings), settings.n_eval_episodes)))


def _reaches_goal(settings: TrainSettings, demonstrations: Demonstrations) -> bool:
    """Whether most of the expert's episodes terminate, and sooner than those of random actions: by success."""
    if demonstrations.whole.terminated.mean() <= 0.5:
        return False
    return demonstrations.termination_rate > random_evaluation(_eval_env(settings), n_episodes=20).termination_rate


def _measure_baselines(run: Run, demonstrations: Demonstrations) -> dict[str, float | None]:
    if not (run.path / "baselines.json").is_file():
        random_return = random_evaluation(_eval_env(run.settings)).mean_return
        write_json(run.path / "baselines.json", {"random": random_return, "demonstrations": demonstrations.mean_return})
    return run.baselines


def _finish(run: Run, model: BaseAlgorithm, baselines: Mapping[str, float | None]) -> None:
    """Evaluates the final model and saves it as any SB3 user would.

    The model comes last: it says that the run has ended.
    """
    evaluation = evaluate(model, _eval_env(run.settings), n_episodes=run.settings.n_eval_episodes)
    content = {
        "timesteps": model.num_timesteps,
        "mean_return": evaluation.mean_return,
        "std_return": evaluation.std_return,
        "score": _score(evaluation.mean_return, baselines),
        "returns": evaluation.returns.tolist(),
        "lengths": evaluation.lengths.tolist(),
    }
    write_json(run.path / "evaluation.json", content)
    vec_normalize = model.get_vec_normalize_env()
    if vec_normalize is not None:
        with replacing(run.path / "vecnormalize.pkl") as temporary:
            vec_normalize.save(str(temporary))
    with replacing(run.model) as temporary, temporary.open("wb") as file:
        model.save(file)


def _score(mean_return: float, baselines: Mapping[str, float | None]) -> float | None:
    """None where the demonstrations carry no rewards, or return the same as random actions."""
    zero, one = baselines.get("random"), baselines.get("demonstrations")
    return None if zero is None or one in (None, zero) else score(mean_return, random_return=zero, expert_return=one)


def _new_folder(settings: RunSettings) -> Path:
    if settings.run_dir is not None:
        if settings.run_dir.is_dir() and any(settings.run_dir.iterdir()):
            raise FileExistsError(
                f"run_dir must be a new or empty folder, got {str(settings.run_dir)!r}; resume the run in it, or "
                f"name another"
            )
        settings.run_dir.mkdir(parents=True, exist_ok=True)
        return settings.run_dir
    name = f"{settings.env.replace('/', '-')}-{settings.algorithm}"
    number = 1
    while True:
        folder = Path("runs") / f"{name}-{number}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder


def _start_of(log: Path) -> int:
    """The environment steps before the first row of `progress.csv` or `progress-<steps>.csv`."""
    return int(log.stem.partition("-")[2] or 0)


def _read_log(log: Path) -> list[dict[str, float]]:
    """The rows of a CSV that SB3 wrote, but for one that a killed process left half written."""
    with log.open(newline="", encoding="utf-8") as lines:
        header, *rows = list(csv.reader(lines)) or [[]]
    whole = [dict(zip(header, row, strict=True)) for row in rows if len(row) == len(header)]
    return [{name: float(value) for name, value in row.items() if value} for row in whole if row[_STEPS]]
