"""The command line, as a user types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("tyro")
pytest.importorskip("matplotlib")

from small_run import kill_at_first_checkpoint

from sb3_gail import Demonstrations
from sb3_gail.cli import main
from sb3_gail.data import shipped
from sb3_gail.runs import Run

PNG = b"\x89PNG\r\n"
SMALL = [
    *("--total-timesteps", "1000", "--n-envs", "4", "--learner", "n_steps", "64"),
    *("--trajectories", "2", "--subsample", "10"),
    *("--eval-freq", "256", "--n-eval-episodes", "2", "--checkpoint-freq", "256"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    main(["train", *SMALL, "--run-dir", str(folder)])
    return folder


def test_train_draws_the_curve_and_prints_the_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(
        ["train", *SMALL, "--run-dir", str(tmp_path / "run"), "--discriminator", "reward", "airl", "--pretrain", "True"]
    )
    printed = capsys.readouterr().out
    assert "gail with reward airl\nBehavioural cloning first (--pretrain False leaves it out)\n" in printed
    assert f"goes on by: sb3-gail train --resume {tmp_path / 'run'}\n" in printed
    assert (tmp_path / "run" / "curve.png").read_bytes().startswith(PNG)
    assert f"Learning curve: {tmp_path / 'run' / 'curve.png'}" in printed
    assert f"{tmp_path / 'run'}: 1024 steps, return " in printed
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert (settings["discriminator"]["reward"], settings["pretrain"], settings["learner"]["n_steps"]) == (
        "airl",
        True,
        64,
    )


def test_killed_run_is_resumed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    options = [*SMALL, "--total-timesteps", "5000", "--run-dir", str(folder)]
    code = f"from sb3_gail.cli import main; main({['train', *options]!r})"
    kill_at_first_checkpoint(code, folder)
    main(["train", "--resume", str(folder)])
    assert Run(folder).evaluation["timesteps"] == 5120


def test_interrupted_run_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    options = [*SMALL, "--total-timesteps", "100000", "--run-dir", str(folder)]
    # A process that was started in the background ignores the signal unless it is told not to.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"from sb3_gail.cli import main; main({['train', *options]!r})"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,  # a pipe that nobody reads would stop it once it is full
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (folder / "checkpoint.zip").is_file() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert Run(folder).checkpoint.is_file()


def test_evaluate_prints_a_table(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["evaluate", str(run), "--n-episodes", "3"])
    lines = capsys.readouterr().out.splitlines()
    rows = {name: line for line in lines for name in ("random actions", "demonstrations", "agent") if name in line}
    assert rows.keys() == {"random actions", "demonstrations", "agent"}
    assert "0.000" in rows["random actions"]
    assert "500.0 ± 0.0" in rows["demonstrations"]
    assert "1.000" in rows["demonstrations"]
    assert rows["agent"].rstrip(" │|").endswith("3")


def test_evaluate_refuses_another_tasks_demonstrations(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", str(run), "--demonstrations", str(shipped("Hopper-v5")), "--n-episodes", "1"])
    assert "observations: expected" in capsys.readouterr().err


def test_saved_model_of_any_agent_can_be_evaluated(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["evaluate", str(run / "model.zip"), "--env", "CartPole-v1", "--algorithm", "trpo", "--n-episodes", "1"])
    assert "demonstrations" in capsys.readouterr().out


def test_expert_is_recorded_and_its_demonstrations_are_imitated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--env", "Acrobot-v1", "--algorithm", "ppo", "--total-timesteps", "512", "--n-eval-episodes", "1"]
    main(["expert", *options, "--learner", "n_steps", "16", "--run-dir", str(tmp_path / "expert")])
    assert f"{tmp_path / 'expert'}: 512 steps, return -" in capsys.readouterr().out
    main(["record", str(tmp_path / "expert"), str(tmp_path / "mine.npz"), "--n-episodes", "2"])
    demonstrations = Demonstrations.load(tmp_path / "mine.npz")
    assert (demonstrations.env_id, demonstrations.n_episodes) == ("Acrobot-v1", 2)
    assert str(demonstrations) in capsys.readouterr().out
    options = [
        "--env",
        "Acrobot-v1",
        "--demonstrations",
        str(tmp_path / "mine.npz"),
        "--run-dir",
        str(tmp_path / "run"),
    ]
    main(["train", *SMALL, *options])
    main(["evaluate", str(tmp_path / "run"), "--n-episodes", "1"])
    assert "demonstrations" in capsys.readouterr().out


def test_plot_draws_runs_of_several_seeds_and_tasks(run: Path, tmp_path: Path) -> None:
    main(["train", *SMALL, "--seed", "1", "--run-dir", str(tmp_path / "other")])
    main(["plot", str(run), str(tmp_path / "other"), "--output", str(tmp_path / "curves.png")])
    assert (tmp_path / "curves.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train --env Acrobot-v1", "no demonstrations ship for 'Acrobot-v1', only for: CartPole-v1, Hopper-v5"),
        ("train --env Nowhere-v1", "sb3-gail: expected the id of a Gymnasium environment, got 'Nowhere-v1'"),
        ("train --demonstrations nowhere.npz", "expected a file of demonstrations, got 'nowhere.npz'; give the path"),
        ("train --demonstrations .", "expected a file of demonstrations, got '.'; give the path"),
        (
            "train --trajectories 4000",
            "sb3-gail: trajectories must be at most 10, the episodes that there are, got 4000",
        ),
        ("train --learner gama 0.9", "trpo has no setting 'gama'"),
        (
            "train --learner learning_rate abc",
            "trpo's learning_rate must be a value such as 0.001, got 'abc'",
        ),
        ("train --algorithm ppo --learner target_kl abc", "ppo's target_kl must be of type "),
        ("expert --device gpu", "settings and an environment that trpo can learn with, got"),
        ("train --adversary fem --device gpu", "sb3-gail: "),
        (
            "train --learner batch_size 0",
            "settings and an environment that trpo can learn with, got batch_size=0",
        ),
        (
            "expert --env Blackjack-v1 --vec-env dummy",
            "Tuple(Discrete(32), Discrete(11), Discrete(2)) observation space is not supported",
        ),
        ("train --learner policy_kwargs x", "sb3-gail: expected settings and an environment that trpo can learn with"),
        (
            "train --discriminator gradient_penalty -1",
            "gradient_penalty must be a finite number of at least 0",
        ),
        (
            "train --discriminator gradient_penalty abc",
            "gradient_penalty must be a number, a tuple (start, end) or a schedule, got 'abc'",
        ),
        ("train --discriminator absorbing_states false", "absorbing_states must be True or False, got 'false'"),
        ("train --discriminator label_smoothing abc", "label_smoothing must be a number, got 'abc'"),
        ("train --learner tensorboard_log here", "trpo has no setting 'tensorboard_log'"),
        ("train --learner gamma 1", "expected a learner with a gamma below 1, got 1"),
        ("train --seed -1", "seed must be a whole number from 0 to 4294967295, got -1"),
        ("train --discriminator hidden_sizes 3", "hidden_sizes must be a tuple of widths"),
        ("train --total-timesteps 0", "total_timesteps must be a positive whole number, got 0"),
        ("train --total-timesteps many", "total-timesteps"),
        ("train --resume nowhere", "expected the folder of a run"),
        ("train --resume=nowhere", "expected the folder of a run"),
        ("train --resume nowhere --seed 1", "leave all other options out"),
        ("train --total-timesteps 300000 --resume=nowhere", "leave all other options out"),  # which is the default
        ("evaluate nowhere", "expected a run's folder"),
        ("evaluate nowhere.zip", "expected a run's folder"),
        ("plot nowhere", "expected the folder of a run"),
        ("expert --algorithm sac", "settings and an environment that sac can learn with, got"),
        ("expert --env Nowhere-v1", "expected the id of a Gymnasium environment, got 'Nowhere-v1'"),
        ("train --algorithm dqn", "invalid choice"),
    ],
)
def test_what_a_user_can_set_right_is_a_message(
    arguments: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        main(arguments.split())
    assert exit_.value.code == 2
    printed = " ".join(capsys.readouterr().err.split())
    assert message in printed
    assert list(tmp_path.iterdir()) == []


def test_demonstrations_that_are_not_there_are_missed_before_episodes_are_played(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr("sb3_gail.evaluation.evaluate")
    with pytest.raises(SystemExit):
        main(["evaluate", str(run), "--demonstrations", "nowhere.npz"])
    assert "expected a file of demonstrations, got 'nowhere.npz'" in capsys.readouterr().err


@pytest.mark.parametrize("library", ["tyro", "matplotlib"])
def test_missing_library_is_named_with_its_extra(
    library: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    for name in [name for name in sys.modules if name.startswith(f"{library}.")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SystemExit) as exit_:
        main(["plot", str(run)])
    assert exit_.value.code == 2
    assert "pip install 'sb3-gail[cli]'" in capsys.readouterr().err
