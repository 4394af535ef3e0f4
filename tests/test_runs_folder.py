"""The folder of a run."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from small_run import SMALL

from sb3_gail import Demonstrations
from sb3_gail.data import shipped
from sb3_gail.runs import Run, resume, train, train_expert
from sb3_gail.runs.folder import new_folder
from sb3_gail.runs.settings import ExpertSettings, TrainSettings


def test_log_has_every_rollout(run: Run) -> None:
    rollouts = [row for row in run.progress() if "gail/loss" in row]
    assert [row["time/total_timesteps"] for row in rollouts] == [256, 512, 768, 1024]


def test_curve_has_every_evaluation_with_its_score(run: Run) -> None:
    curve = run.curve()
    assert [point.timesteps for point in curve] == [256, 512, 768, 1024]
    zero, one = run.baselines["random"], run.baselines["demonstrations"]
    assert zero is not None
    assert one is not None
    assert one == Demonstrations.load(shipped("CartPole-v1")).mean_return
    for point in curve:
        assert point.score == pytest.approx((point.mean_return - zero) / (one - zero))


def test_log_of_a_resumed_run_counts_nothing_twice(run: Run, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_bytes((run.path / "settings.json").read_bytes())
    parts = {"progress.csv": [100, 200, 300, 400], "progress-200.csv": [300, 400, 500], "progress-1000.csv": [1100]}
    for name, steps in parts.items():
        with (tmp_path / name).open("w", newline="") as file:
            csv.writer(file).writerows([["time/total_timesteps", "x"], *([step, ""] for step in steps)])
    with (tmp_path / "progress-1000.csv").open("a") as file:
        file.write("12")  # killed while it wrote
    assert Run(tmp_path).progress() == [{"time/total_timesteps": step} for step in (100, 200, 300, 400, 500, 1100)]


def test_folder_of_another_run_is_left_alone(run: Run) -> None:
    with pytest.raises(FileExistsError, match="run_dir must be a new or empty folder"):
        train(TrainSettings(**SMALL, run_dir=run.path))


def test_a_folder_without_a_first_file_is_still_new(tmp_path: Path) -> None:
    (tmp_path / ".settings.json.77.tmp").write_text("{")  # killed while it wrote
    (tmp_path / ".lock").touch()
    assert new_folder(TrainSettings(run_dir=tmp_path)) == tmp_path


def test_default_folders_are_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = ExpertSettings(total_timesteps=128, n_envs=2, learner={"n_steps": 64}, n_eval_episodes=1)
    assert [train_expert(settings).path for _ in range(2)] == [
        Path("runs/CartPole-v1-trpo-1"),
        Path("runs/CartPole-v1-trpo-2"),
    ]


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected the folder of a run"):
        resume(tmp_path)
