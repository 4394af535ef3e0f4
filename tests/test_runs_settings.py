"""Settings of a run, and their file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sb3_gail import DiscriminatorConfig
from sb3_gail.runs.settings import ExpertSettings, RunSettings, TrainSettings, read_settings, write_settings


def written(folder: Path, settings: RunSettings) -> RunSettings:
    """Settings as they are read again."""
    write_settings(folder / "settings.json", settings)
    return read_settings(folder / "settings.json")


def test_file_spells_defaults_out(tmp_path: Path) -> None:
    settings = TrainSettings(learner={"gamma": 0.9}, discriminator={"reward": "airl"}, trajectories=2)
    read = written(tmp_path, settings)
    assert isinstance(read, TrainSettings)
    assert read.learner == {**read.learner, "gamma": 0.9, "target_kl": 0.04}
    assert DiscriminatorConfig(**read.discriminator) == DiscriminatorConfig(reward="airl")  # type: ignore[arg-type]
    assert (read.trajectories, read.total_timesteps, read.demonstrations) == (2, settings.total_timesteps, None)


@pytest.mark.parametrize("settings", [TrainSettings(), ExpertSettings()])
def test_run_from_when_settings_without_effect_were_taken_is_read(settings: RunSettings, tmp_path: Path) -> None:
    write_settings(tmp_path / "settings.json", settings)
    values = json.loads((tmp_path / "settings.json").read_text())
    values["learner"] |= {"verbose": 1, "tensorboard_log": "logs"}
    (tmp_path / "settings.json").write_text(json.dumps(values))
    assert read_settings(tmp_path / "settings.json") == written(tmp_path, settings)


def test_run_from_before_there_was_an_entropy_goes_on_without(tmp_path: Path) -> None:
    write_settings(tmp_path / "settings.json", TrainSettings())
    values = json.loads((tmp_path / "settings.json").read_text())
    del values["causal_entropy"]
    (tmp_path / "settings.json").write_text(json.dumps(values))
    read = read_settings(tmp_path / "settings.json")
    assert isinstance(read, TrainSettings)
    assert read.causal_entropy == 0.0


def test_second_writing_changes_nothing(tmp_path: Path) -> None:
    read = written(tmp_path, TrainSettings(algorithm="a2c", wandb_project="p"))
    assert written(tmp_path, read) == read


def test_expert_stays_an_expert(tmp_path: Path) -> None:
    assert isinstance(written(tmp_path, ExpertSettings(algorithm="sac")), ExpertSettings)


def test_path_of_demonstrations_does_not_depend_on_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    read = written(tmp_path, TrainSettings(demonstrations=Path("mine.npz")))
    assert isinstance(read, TrainSettings)
    assert read.demonstrations == tmp_path / "mine.npz"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"algorithm": "dqn"}, "algorithm must be one of trpo, ppo, a2c.* got 'dqn'"),
        ({"algorithm": "sac"}, "algorithm must be one of trpo, ppo, a2c, got 'sac'"),
        ({"total_timesteps": 0}, "total_timesteps must be a positive whole number, got 0"),
        ({"subsample": 2.5}, "subsample must be a positive whole number, got 2.5"),
        ({"trajectories": -1}, "trajectories must be a positive whole number, got -1"),
        ({"causal_entropy": -0.1}, "causal_entropy must be a finite number of at least 0, got -0.1"),
        ({"causal_entropy": "much"}, "causal_entropy must be a finite number of at least 0, got 'much'"),
        ({"causal_entropy": (0.1, 0.0)}, r"causal_entropy must be a finite number of at least 0, got \(0.1, 0.0\)"),
        ({"learner": {"gama": 0.9}}, "trpo has no setting 'gama'; expected some of .*gamma"),
        ({"learner": {"seed": 3}}, "trpo has no setting 'seed'; expected some of .*gamma"),
        ({"learner": {"learning_rate": "abc"}}, "trpo's learning_rate must be a value such as 0.001, got 'abc'"),
        ({"learner": {"use_sde": "abc"}}, "trpo's use_sde must be a value such as False, got 'abc'"),
        (
            {"discriminator": {"rewards": "airl"}},
            "gail has no setting 'rewards'; expected some of .*reward",
        ),
        ({"discriminator": {"reward": "gial"}}, "reward must be one of .*'gial'"),
        ({"adversary": "gan"}, "adversary must be one of gail, airl, fem, gtal, got 'gan'"),
        ({"adversary": "fem", "discriminator": {"reward": "gail"}}, "fem has no setting 'reward'; expected .* sign"),
        ({"adversary": "gtal", "discriminator": {"sign": "up"}}, "sign must be one of 'positive'.* got 'up'"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainSettings(**wrong)


@pytest.mark.parametrize("content", [{"command": "train"}, {"command": "expert", "colour": 1}, {}])
def test_other_files_are_refused(content: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"expected the settings of a run, got others in .*settings\.json"):
        read_settings(tmp_path / "settings.json")
