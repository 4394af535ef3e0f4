"""The command line: a thin face over `sb3_gail.runs`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NoReturn

from rich.console import Console

from sb3_gail import evaluation, runs
from sb3_gail.data import shipped
from sb3_gail.demonstrations import Demonstrations
from sb3_gail.raw_observations import raw_vec_env
from sb3_gail.runs.experiment import read_demonstrations
from sb3_gail.runs.plots import plot_runs
from sb3_gail.runs.settings import ExpertSettings, TrainSettings
from sb3_gail.tables import returns_table

Algorithm = Literal["trpo", "ppo", "a2c", "sac"]


def train(settings: TrainSettings, *, resume: Path | None = None) -> None:
    """Train an agent to imitate demonstrations.

    Args:
        settings: The run.
        resume: Go on with the run in this folder from its last checkpoint, by its own settings.
    """
    run = runs.train(settings, progress=True) if resume is None else runs.resume(resume, progress=True)
    if run.curve():
        print(f"Learning curve: {plot_runs([run.path], run.path / 'curve.png')}")
    _print_final_evaluation(run)


def expert(settings: ExpertSettings) -> None:
    """Train an expert on the environment's own reward.

    Args:
        settings: The run.
    """
    _print_final_evaluation(runs.train_expert(settings, progress=True))


def evaluate(
    agent: Path,
    /,
    *,
    env: str | None = None,
    algorithm: Algorithm | None = None,
    demonstrations: Path | None = None,
    n_episodes: int = 20,
    deterministic: bool = True,
    seed: int = evaluation.HELD_OUT_SEED,
) -> None:
    """Evaluate an agent beside random actions and the demonstrations.

    Args:
        agent: A run's folder, or a model that SB3 saved, with its `vecnormalize.pkl` beside it if it needs one.
        env: The Gymnasium id of the environment. A run knows it.
        algorithm: What a saved model is. A run knows it.
        demonstrations: Their file; by default the run's, else the one that ships for the environment.
        n_episodes: Episodes to play.
        deterministic: Take the most likely actions instead of sampling.
        seed: Of the episodes.
    """
    model = runs.load_agent(agent, env=env, algorithm=algorithm)
    venv = model.get_env()
    assert venv is not None  # load_agent gives the model one
    file = demonstrations or _demonstrations_of(agent, env)
    demonstrated = None if file is None else read_demonstrations(file)
    if demonstrated is not None:
        raw = raw_vec_env(venv)
        demonstrated.check_spaces(raw.observation_space, raw.action_space)
    played = evaluation.evaluate(model, venv, n_episodes=n_episodes, deterministic=deterministic, seed=seed)
    table = returns_table(
        str(agent),
        random=evaluation.random_evaluation(venv).returns,
        demonstrations=None if demonstrated is None else demonstrated.returns,
        policies={"agent": played.returns},
        expert_return=None if demonstrated is None else demonstrated.mean_return,
    )
    Console().print(table)


def record(
    agent: Path,
    output: Path,
    /,
    *,
    env: str | None = None,
    algorithm: Algorithm | None = None,
    n_episodes: int = 25,
    deterministic: bool = False,
    seed: int = 0,
) -> None:
    """Roll an agent out into a file of demonstrations.

    Args:
        agent: A run's folder, or a model that SB3 saved, with its `vecnormalize.pkl` beside it if it needs one.
        output: The file to write.
        env: The Gymnasium id of the environment. A run knows it.
        algorithm: What a saved model is. A run knows it.
        n_episodes: Episodes to record.
        deterministic: Take the most likely actions instead of sampling.
        seed: Of the episodes.
    """
    model = runs.load_agent(agent, env=env, algorithm=algorithm)
    venv = model.get_env()
    assert venv is not None  # load_agent gives the model one
    demonstrations = Demonstrations.from_agent(model, venv, n_episodes, deterministic=deterministic, seed=seed)
    demonstrations.save(output)
    print(f"{output}: {demonstrations}")


def plot(run_folders: list[Path], /, *, output: Path = Path("curves.png")) -> None:
    """Draw learning curves of runs, and the mean of those that differ in nothing but their seed.

    Args:
        run_folders: The folders of one or more runs of `sb3-gail train`.
        output: The PNG to write.
    """
    print(plot_runs(run_folders, output))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line. What a user can set right is a message and exit status 2, not a traceback."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        import tyro
    except ImportError:
        _fail("the command line needs tyro and matplotlib: pip install 'sb3-gail[cli]'")
    if _resumes_with_more(arguments):
        _fail("--resume goes on by the run's own settings: leave all other options out")
    commands = {command.__name__: command for command in (train, evaluate, record, expert, plot)}
    try:
        tyro.extras.subcommand_cli_from_dict(
            commands,
            prog="sb3-gail",
            description="Generative adversarial imitation learning with Stable-Baselines3.",
            args=arguments,
            config=(tyro.conf.OmitArgPrefixes,),
        )
    except (ImportError, OSError, ValueError) as error:
        _fail(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _resumes_with_more(arguments: Sequence[str]) -> bool:
    """Whether options stand beside `--resume RUN`; once they are parsed, one that equals a default looks left out."""
    resume = next((argument for argument in arguments if argument.partition("=")[0] == "--resume"), None)
    if resume is None or {"-h", "--help"} & set(arguments):
        return False
    return len(arguments) > (2 if "=" in resume else 3)


def _fail(message: str) -> NoReturn:
    print(f"sb3-gail: {message}", file=sys.stderr)
    sys.exit(2)


def _demonstrations_of(agent: Path, env: str | None) -> Path | None:
    """The file that a run imitates, else the one that ships for its environment, if one does."""
    settings = runs.Run(agent).settings if agent.is_dir() else None
    if isinstance(settings, TrainSettings) and settings.demonstrations is not None:
        return settings.demonstrations
    try:
        return shipped(env or ("" if settings is None else settings.env))
    except ValueError:
        return None


def _print_final_evaluation(run: runs.Run) -> None:
    final = run.evaluation
    score = "" if final.get("score") is None else f", score {final['score']:.3f}"
    print(
        f"{run.path}: {final['timesteps']} steps, return {final['mean_return']:.1f} ± {final['std_return']:.1f} over "
        f"{len(final['returns'])} episodes{score}"
    )
