"""Learning curves as pictures."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib")

import numpy as np
from matplotlib.figure import Figure

from sb3_gail.runs.plots import plot_runs
from sb3_gail.runs.settings import ExpertSettings, TrainSettings, write_settings


def made_up(folder: Path, returns: list[float], **settings: Any) -> Path:
    """The folder of a run that was evaluated at 100, 200, ... steps."""
    write_settings(folder / "settings.json", TrainSettings(**settings))
    (folder / "baselines.json").write_text(json.dumps({"random": 10.0, "demonstrations": 500.0}))
    with (folder / "progress.csv").open("w", newline="") as file:
        rows = [[100 * (number + 1), value] for number, value in enumerate(returns)]
        csv.writer(file).writerows([["time/total_timesteps", "eval/mean_reward"], *rows])
    return folder


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn from now on."""
    drawn: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *arguments: Any, **keywords: Any) -> None:
        drawn.append(figure)
        save(figure, *arguments, **keywords)

    monkeypatch.setattr(Figure, "savefig", keep)
    return drawn


def test_seeds_of_one_task_are_one_mean_and_tasks_are_panels(tmp_path: Path, figures: list[Figure]) -> None:
    folders = [
        made_up(tmp_path / "first", [20, 40, 60], seed=0),
        made_up(tmp_path / "second", [40, 80], seed=1),
        made_up(tmp_path / "ppo", [30, 30, 30], algorithm="ppo"),
        made_up(tmp_path / "hopper", [300], env="Hopper-v5"),
    ]
    png = plot_runs(folders, tmp_path / "curves.png")
    assert png.read_bytes().startswith(b"\x89PNG")
    (figure,) = figures
    cartpole, hopper = figure.axes
    assert (cartpole.get_title(), hopper.get_title()) == ("CartPole-v1", "Hopper-v5")
    lines = {str(line.get_label()): line for line in cartpole.get_lines()}
    np.testing.assert_array_equal(lines["first and 1 more: mean"].get_xydata(), [[100, 30], [200, 60]])
    np.testing.assert_array_equal(lines["ppo"].get_xydata(), [[100, 30], [200, 30], [300, 30]])
    assert set(lines["random"].get_ydata()) == {10.0}  # type: ignore[arg-type]
    assert set(lines["demonstrations"].get_ydata()) == {500.0}  # type: ignore[arg-type]


def test_runs_without_a_curve_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one run, got none"):
        plot_runs([], tmp_path / "curves.png")
    with pytest.raises(ValueError, match=r"evaluated at least once while training, got .*empty"):
        plot_runs([made_up(tmp_path / "empty", [])], tmp_path / "curves.png")
    write_settings(tmp_path / "expert" / "settings.json", ExpertSettings())
    with pytest.raises(ValueError, match=r"evaluated at least once while training, got .*expert"):
        plot_runs([tmp_path / "expert"], tmp_path / "curves.png")
    with pytest.raises(FileNotFoundError, match="expected the folder of a run"):
        plot_runs([tmp_path], tmp_path / "curves.png")
