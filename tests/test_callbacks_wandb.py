"""What an offline run's own file holds, against what SB3's logger recorded."""

from __future__ import annotations

import csv
import json
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import Figure, HParam, Image, KVWriter, Logger, Video, configure
from stable_baselines3.common.vec_env import VecNormalize

from sb3_gail import Demonstrations, Discriminator
from sb3_gail.callbacks import GAILCallback, ImitationEvalCallback, WandbCallback
from sb3_gail.wrappers import GAILRewardVecWrapper

pytest.importorskip("wandb.sdk")  # a folder of runs can be imported as `wandb` too
wandb = pytest.importorskip("wandb")

BLOCK = 2**15


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in (("MODE", "offline"), ("DIR", str(tmp_path)), ("SILENT", "true"), ("CONSOLE", "off")):
        monkeypatch.setenv(f"WANDB_{name}", value)
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    wandb.teardown()  # else the process goes on with the folder that it read first
    yield
    wandb.teardown()


def records(path: Path) -> Iterator[Any]:
    """The records of a run's file: LevelDB's log format, after a header of 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    content, at, parts = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if BLOCK - at % BLOCK < 7:  # too short for a record's header: padding
            at += BLOCK - at % BLOCK
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        if kind == 0 or at + 7 + length > len(content):  # not yet written
            return
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]
            record.ParseFromString(parts)
            parts = b""
            yield record


def values(items: Any) -> dict[str, Any]:
    """The values by their keys, those of nested keys in dicts."""
    found: dict[str, Any] = {}
    for item in items:
        *outer, last = item.nested_key or [item.key]
        inner = found
        for key in outer:
            inner = inner.setdefault(key, {})
        inner[last] = json.loads(item.value_json)
    return found


def whole_file(path: Path) -> list[Any]:
    """The records of a finished run: `finish()` does not wait for W&B's own process to write the last ones."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = list(records(path))
        if any(record.WhichOneof("record_type") == "exit" for record in found):
            return found
        time.sleep(0.02)
    raise TimeoutError(f"{path} has no end")


class RunFile:
    """The one run that was recorded under a folder."""

    def __init__(self, folder: Path) -> None:
        (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
        self.rows: list[dict[str, Any]] = []
        self.config: dict[str, Any] = {}
        self.artifacts: list[Any] = []
        self.metrics: list[Any] = []
        self.summary: dict[str, Any] = {}
        self.exit_code: int | None = None
        for record in whole_file(path):
            kind = record.WhichOneof("record_type")
            if kind == "history":
                self.rows.append(values(record.history.item))
            elif kind == "config":
                self.config |= values(record.config.update)
            elif kind == "run":
                self.config |= values(record.run.config.update)
            elif kind == "artifact":
                self.artifacts.append(record.artifact)
            elif kind == "metric":
                self.metrics.append(record.metric)
            elif kind == "summary":
                self.summary |= values(record.summary.update)
            elif kind == "exit":
                self.exit_code = record.exit.exit_code

    def steps(self) -> list[int]:
        return [row["global_step"] for row in self.rows]


class Kept(KVWriter):
    """The scalars and the names of histograms of each dump, as SB3's logger gives them to its formats."""

    def __init__(self) -> None:
        self.scalars: list[tuple[int, dict[str, float]]] = []
        self.histograms: list[set[str]] = []

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, Any], step: int = 0) -> None:
        tensors = {key for key, value in key_values.items() if isinstance(value, torch.Tensor)}
        self.scalars.append((step, {key: value for key, value in key_values.items() if key not in tensors}))
        self.histograms.append(tensors)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def demonstrations() -> Demonstrations:
    env = gym.make("CartPole-v1")
    return Demonstrations.from_agent(PPO("MlpPolicy", env, seed=0), env, 3)


def learner(env: Any = None) -> Any:
    env = make_vec_env("CartPole-v1", 2, seed=0) if env is None else env
    return PPO("MlpPolicy", env, n_steps=32, batch_size=32, n_epochs=1, seed=0)


def imitate(demonstrations: Demonstrations, folder: Path, **settings: Any) -> Any:
    discriminator = Discriminator.from_demonstrations(demonstrations, batch_size=32)
    model = learner(VecNormalize(GAILRewardVecWrapper(make_vec_env("CartPole-v1", 2, seed=0), discriminator)))
    model.set_logger(configure(str(folder / "logs"), ["csv"]))
    gail = GAILCallback(discriminator, demonstrations)
    evaluation = ImitationEvalCallback(
        gym.make("CartPole-v1"), demonstrations, eval_freq=100, n_eval_episodes=1, verbose=0
    )
    model.learn(256, callback=[gail, evaluation, WandbCallback(gail, project="imitation", **settings)])
    model.logger.close()
    return model


def test_everything_that_the_logger_recorded_is_on_the_run(demonstrations: Demonstrations, tmp_path: Path) -> None:
    imitate(demonstrations, tmp_path)
    run = RunFile(tmp_path)
    with (tmp_path / "logs" / "progress.csv").open() as file:
        expected = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
    assert len(expected) == 4 + 2
    assert run.steps() == [int(row["time/total_timesteps"]) for row in expected] == [64, 100, 128, 192, 200, 256]
    for row, kept in zip(expected, run.rows, strict=True):
        assert {key: kept[key] for key in row} == pytest.approx(row, rel=1e-6, nan_ok=True)
    assert {"rollout/ep_rew_mean", "gail/reward_mean", "train/loss", "eval/score"} <= {
        key for row in expected for key in row
    }

    histograms = {key for row in run.rows for key, value in row.items() if isinstance(value, dict)}
    assert "gail/rewards" in histograms
    assert len([key for key in histograms if "logit" in key]) == 2
    at_rollouts = [row["gail/rewards"] for row in run.rows if "gail/rewards" in row]
    assert [(one["_type"], sum(one["values"])) for one in at_rollouts] == [("histogram", 64)] * 4


def test_steps_are_the_axis_and_the_run_is_whole(demonstrations: Demonstrations, tmp_path: Path) -> None:
    imitate(demonstrations, tmp_path)
    run = RunFile(tmp_path)
    assert next(metric.name for metric in run.metrics if not metric.glob_name) == "global_step"
    (all_metrics,) = [metric for metric in run.metrics if metric.glob_name == "*"]
    assert (
        all_metrics.step_metric == "global_step" or run.metrics[all_metrics.step_metric_index - 1].name == "global_step"
    )
    assert run.exit_code == 0
    assert wandb.run is None


def test_config_describes_learner_adversary_and_demonstrations(demonstrations: Demonstrations, tmp_path: Path) -> None:
    imitate(demonstrations, tmp_path, config={"note": "mine"})
    config = RunFile(tmp_path).config
    assert (config["algo"], config["n_steps"], config["batch_size"], config["note"]) == ("PPO", 32, 32, "mine")
    assert config["adversary"]["class"] == "Discriminator"
    assert config["adversary"]["config"]["batch_size"] == 32
    assert config["adversary"]["config"]["hidden_sizes"] == [128, 128]
    assert config["demonstrations"] == json.loads(json.dumps(demonstrations.summary()))


def test_the_final_model_is_an_artifact(demonstrations: Demonstrations, tmp_path: Path) -> None:
    model = imitate(demonstrations, tmp_path)
    (artifact,) = RunFile(tmp_path).artifacts
    files = {entry.path: Path(entry.local_path) for entry in artifact.manifest.contents}
    assert artifact.type == "model"
    assert json.loads(artifact.metadata) == {"global_step": 256}
    assert set(files) == {"model.zip", "vecnormalize.pkl", "adversary.pt"}
    trained = PPO.load(files["model.zip"]).policy.state_dict()
    assert all(torch.equal(value, trained[name]) for name, value in model.policy.state_dict().items())
    statistics: Any = VecNormalize.load(str(files["vecnormalize.pkl"]), make_vec_env("CartPole-v1", 2))
    np.testing.assert_array_equal(statistics.obs_rms.mean, model.get_env().obs_rms.mean)
    Discriminator.from_demonstrations(demonstrations).load(files["adversary.pt"])


def test_without_gail_and_without_a_model(tmp_path: Path) -> None:
    model = learner()
    model.learn(64, callback=WandbCallback(save_model=False))
    run = RunFile(tmp_path)
    assert run.steps() == [64]
    assert run.artifacts == []
    assert "adversary" not in run.config


def test_uses_the_users_run_over_several_learns_and_leaves_it_open(tmp_path: Path) -> None:
    model, kept = learner(), Kept()
    model.set_logger(Logger(None, [kept]))
    with wandb.init(project="mine") as run:
        callback = WandbCallback(project="other", save_model=False)
        model.learn(64, callback=callback)
        model.learn(64, callback=callback, reset_num_timesteps=False)
        model.learn(64, callback=callback)
        assert callback.run is run
        assert wandb.run is run
        assert model.logger.output_formats == [kept]
        run.log({"own": 1.0})
    rows = RunFile(tmp_path).rows
    assert [row["global_step"] for row in rows if "time/fps" in row] == [64, 128, 64]
    assert rows[-1]["own"] == 1.0


def test_a_new_training_is_a_new_run_and_one_that_goes_on_the_same(tmp_path: Path) -> None:
    model, callback, ids = learner(), WandbCallback(save_model=False), []
    for reset in (True, False, True):
        model.learn(64, callback=callback, reset_num_timesteps=reset)
        assert callback.run is not None
        ids.append(callback.run.id)
    assert ids[0] == ids[1] != ids[2]
    assert len(list(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))) == 3


class Interrupting(WandbCallback):
    def _on_step(self) -> bool:
        if self.num_timesteps > 100:
            raise KeyboardInterrupt
        return True


def test_a_run_that_an_interrupted_training_left_open_is_not_taken_for_the_users(tmp_path: Path) -> None:
    model, kept = learner(), Kept()
    model.set_logger(Logger(None, [kept]))
    left = Interrupting(gradient_freq=1)
    with pytest.raises(KeyboardInterrupt):
        model.learn(128, callback=left)
    assert wandb.run is left.run
    callback = WandbCallback(gradient_freq=1, save_model=False)
    model.learn(64, callback=callback)
    assert callback.run is not left.run
    assert wandb.run is None
    assert model.logger.output_formats == [kept]


def test_gradients_of_the_policy(tmp_path: Path) -> None:
    model = learner()
    model.learn(128, callback=WandbCallback(gradient_freq=1, save_model=False))
    gradients = {key for row in RunFile(tmp_path).rows for key in row if key.startswith("gradients/")}
    assert any(key.endswith("action_net.weight") for key in gradients)
    model.learn(64)  # no hook is left


def logged(values: dict[str, Any], tmp_path: Path, exclude: Any = None) -> RunFile:
    """What a run holds of values that some callback records."""

    class Recording(WandbCallback):
        def _on_rollout_end(self) -> None:
            for key, value in values.items():
                self.logger.record(key, value, exclude=exclude)

    learner().learn(64, callback=Recording(save_model=False))
    return RunFile(tmp_path)


def test_kinds_of_values(tmp_path: Path) -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    figure, closed = plt.figure(), plt.figure()
    pixels = np.zeros((3, 4, 5), np.uint8)
    values = {
        "int": 3,
        "numpy": np.float32(0.5),
        "flag": True,
        "tensor": torch.tensor([0.25]),
        "half": torch.arange(8, dtype=torch.bfloat16, requires_grad=True),
        "array": np.array([1.0, np.nan, 2.0, np.inf]),
        "nothing finite": torch.full((3,), np.nan),
        "none": None,
        "text": "a word",
        "image": Image(pixels, "CHW"),
        "images": Image(torch.zeros(2, 4, 5, 3, dtype=torch.uint8), "NHWC"),
        "grey": Image(np.zeros((4, 5)), "HW"),
        "figure": Figure(figure, close=False),
        "closed figure": Figure(closed, close=True),
        "hyperparameters": HParam({"depth": 4}, {"loss": 0.0}),
    }
    run = logged(values, tmp_path, exclude=("stdout",))
    (row,) = run.rows
    assert [row[key] for key in ("int", "numpy", "flag", "tensor")] == [3, 0.5, True, 0.25]
    assert [sum(row[key]["values"]) for key in ("half", "array")] == [8, 2]
    assert [(row[key]["width"], row[key]["height"]) for key in ("image", "grey")] == [(5, 4)] * 2
    assert row["images"]["count"] == 2
    assert row["figure"]["_type"] == row["closed figure"]["_type"] == "image-file"
    assert (plt.fignum_exists(figure.number), plt.fignum_exists(closed.number)) == (True, False)
    assert not {"nothing finite", "none", "text", "hyperparameters"} & set(row)
    assert run.summary["text"] == "a word"
    assert run.config["depth"] == 4
    plt.close(figure)


def test_values_that_are_excluded_from_wandb(tmp_path: Path) -> None:
    (row,) = logged({"secret": 1.0}, tmp_path, exclude=("stdout", "wandb")).rows
    assert "secret" not in row


def test_what_wandb_cannot_draw_is_said_and_stops_nothing(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = logged({"object": object(), "video": Video(torch.zeros(1, 2, 3, 4, 4), 5)}, tmp_path)
    told = [str(warning.message) for warning in caught if "W&B cannot log" in str(warning.message)]
    assert any("object (object)" in message for message in told)
    (row,) = run.rows
    assert "object" not in row
    assert ("video" in row) != any("video (Video)" in message for message in told)


def test_errors() -> None:
    with pytest.raises(TypeError, match="must be a GAILCallback, got str"):
        WandbCallback("imitation")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 0, got -1"):
        WandbCallback(gradient_freq=-1)


def test_a_run_that_cannot_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # where somebody may have logged in
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(ValueError, match=r"W&B begins no run \(.*`wandb login`, .*WANDB_MODE=offline"):
        learner().learn(64, callback=WandbCallback(mode="online", dir=str(tmp_path)))


@pytest.mark.parametrize("missing", ["wandb", "wandb.sdk"])
def test_without_wandb(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=r"pip install 'sb3-gail\[wandb\]'"):
        WandbCallback()
