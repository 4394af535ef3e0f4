"""Trained agents, from the folder of a run or from a model that SB3 saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from sb3_gail.checkpoint import load_checkpointed_model, load_in_any_precision
from sb3_gail.runs.experiment import training_env
from sb3_gail.runs.folder import Run
from sb3_gail.runs.learners import choose_vec_env, learner_class, make_venv
from sb3_gail.runs.settings import TrainSettings


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
                f"a saved model does not say what it is: give env and algorithm (--env and --algorithm), got "
                f"{env!r} and {algorithm!r}"
            )
        return _load_model(path, algorithm, make_venv(env, n_envs=1, seed=0))
    if not path.exists():
        raise FileNotFoundError(
            f"expected a run's folder or a model that SB3 saved, got {str(path)!r}, which is not there"
        )
    run = Run(path)
    env = env or run.settings.env
    # In EnvPool if it was trained there and EnvPool is here.
    on_envpool = env == run.settings.env and run.settings.vec_env == "envpool"
    settings = replace(run.settings, env=env, vec_env=choose_vec_env(env, "auto" if on_envpool else "dummy"), n_envs=1)
    if run.model.is_file():
        return _load_model(run.model, settings.algorithm, training_env(settings))
    if not isinstance(settings, TrainSettings) or not run.checkpoint.is_file():
        raise FileNotFoundError(f"the run was stopped before it saved anything: {run.path}")
    return load_checkpointed_model(run.checkpoint, learner_class(settings.algorithm), training_env(settings))


_UNREADABLE = (
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    IndexError,
    KeyError,
    RuntimeError,
    TypeError,
    UnpicklingError,
    ValueError,
)
"""What SB3 and pickle raise on statistics of other spaces, and on files that are cut, altered or of other versions."""


def _statistics_of(model: Path) -> Path:
    """The `VecNormalize` of a saved model: named after it by our callbacks or by SB3's, else the folder's only one."""
    names = [model.stem.replace("model", normaliser) for normaliser in ("vecnormalize", "model_vecnormalize")]
    candidates = [model.with_name(f"{name}.pkl") for name in names if name != model.stem]
    return next((path for path in candidates if path.is_file()), model.with_name("vecnormalize.pkl"))


def _load_model(path: Path, algorithm: str, venv: VecEnv) -> BaseAlgorithm:
    statistics = _statistics_of(path)
    learner = learner_class(algorithm)
    if statistics.is_file():
        try:
            venv = VecNormalize.load(str(statistics), venv)
        except _UNREADABLE as error:
            raise ValueError(
                f"expected statistics of this environment's observations beside {path.name!r}, got "
                f"{str(statistics)!r}: {error}; move the file away if it is not the model's"
            ) from error
    try:
        return load_in_any_precision(lambda: path, learner, venv)
    except (AssertionError, AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"expected a model of {algorithm} that SB3 saved, or a run's folder, which plays its checkpoint too, got "
            f"{str(path)!r}: {error}"
        ) from error
