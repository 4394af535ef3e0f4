"""Training: from settings to a trained, evaluated agent in its folder, which can go on where it stopped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, ProgressBarCallback
from stable_baselines3.common.logger import Logger, make_output_format

from sb3_gail.adapters.bc import pretrain_bc
from sb3_gail.callbacks import (
    BCAnnealingCallback,
    CriticWarmupCallback,
    GAILCallback,
    ImitationCheckpointCallback,
    ImitationEvalCallback,
    WandbCallback,
)
from sb3_gail.demonstrations import Demonstrations
from sb3_gail.evaluation import evaluate, random_evaluation, score
from sb3_gail.files import held, replacing
from sb3_gail.json_files import read_json, write_json
from sb3_gail.runs.experiment import Experiment, evaluation_env, make_plain_model, resolve_settings
from sb3_gail.runs.folder import Run, new_folder
from sb3_gail.runs.settings import ExpertSettings, TrainSettings, write_settings

_WARMUP = 10_240
"""Environment steps in which critic and discriminator catch up with a cloned policy."""

_HELD_OUT = 0.1
"""The share of the demonstrations that says when cloning is to stop."""


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
    experiment = Experiment(settings)
    model = experiment.make()
    if settings.wandb_project is not None:
        WandbCallback(experiment.callback)  # which says so if W&B is missing
    # Last, so that whatever is wrong leaves no folder behind.
    folder = new_folder(settings)
    with held(folder):
        write_settings(folder / "settings.json", experiment.settings)
        if progress:
            _print_chosen(experiment.settings)
        return _train(Run(folder), experiment, model, progress)


def _print_chosen(settings: TrainSettings) -> None:
    chosen = dict(settings.discriminator)
    if settings.causal_entropy:
        chosen["causal_entropy"] = settings.causal_entropy
    if chosen:
        print(f"{settings.adversary} with {', '.join(f'{name} {value}' for name, value in chosen.items())}")
    if settings.pretrain:
        print("Behavioural cloning first (--pretrain False leaves it out)")


def resume(path: str | Path, *, progress: bool = False) -> Run:
    """Goes on with a run from its last checkpoint, to the end that its settings say; a finished one stays as it is.

    Args:
        path: The run's folder.
        progress: Whether to print where the run is, each evaluation and SB3's progress bar.

    Raises:
        FileNotFoundError: If there is no run there.
        BlockingIOError: If another process works on it.
        ValueError: If it is an expert's, which are not resumed.
    """
    run = Run(path)
    if not isinstance(run.settings, TrainSettings):
        raise ValueError(f"expected a run of `sb3-gail train`, got an expert's: {run.path}; train it again")
    with held(run.path):
        if run.model.is_file():
            if progress:
                print(f"The run in {run.path} has ended already")
            return run
        experiment = Experiment(run.settings)
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
    settings = resolve_settings(settings)
    model = make_plain_model(settings)
    folder = new_folder(settings)
    with held(folder):
        write_settings(folder / "settings.json", settings)
        run = Run(folder)
        _learn(run, model, [], progress)
        _finish(run, model, {})
    return run


def _train(run: Run, experiment: Experiment, model: BaseAlgorithm, progress: bool) -> Run:
    settings, gail = experiment.settings, experiment.callback
    if settings.pretrain and not run.checkpoint.is_file():
        pretrain_bc(
            model,
            gail.demonstrations,
            validation_fraction=_HELD_OUT if len(gail.demonstrations) > 1 else 0.0,
            progress_bar=progress,
            seed=settings.seed,
        )
    baselines = _measure_baselines(run, gail.demonstrations)
    callbacks: list[BaseCallback] = [
        gail,
        ImitationEvalCallback(
            evaluation_env(settings),
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
    if progress:
        print(f"Whenever it stops, it goes on by: sb3-gail train --resume {run.path}")
    _learn(run, model, callbacks, progress)
    gail.adversary.save(run.path / "discriminator.pt")
    _finish(run, model, baselines)
    return run


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
        with _progress_bar(progress) as bar:
            model.learn(
                max(0, run.settings.total_timesteps - model.num_timesteps),
                callback=[*callbacks, *bar],
                reset_num_timesteps=False,
            )
    finally:
        model.logger.close()


@contextmanager
def _progress_bar(shown: bool) -> Iterator[list[BaseCallback]]:
    """SB3's, if it is to be shown, closed however training ends: one left open can keep Python from ending."""
    if not shown:
        yield []
        return
    bar = ProgressBarCallback()
    try:
        yield [bar]
    finally:
        if hasattr(bar, "pbar"):  # training began
            bar.pbar.close()


def _measure_baselines(run: Run, demonstrations: Demonstrations) -> dict[str, float | None]:
    if not (run.path / "baselines.json").is_file():
        random_return = random_evaluation(evaluation_env(run.settings)).mean_return
        write_json(run.path / "baselines.json", {"random": random_return, "demonstrations": demonstrations.mean_return})
    return run.baselines


def _finish(run: Run, model: BaseAlgorithm, baselines: Mapping[str, float | None]) -> None:
    """Evaluates the final model and saves it as any SB3 user would.

    The model comes last: it says that the run has ended.
    """
    evaluation = evaluate(model, evaluation_env(run.settings), n_episodes=run.settings.n_eval_episodes)
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
