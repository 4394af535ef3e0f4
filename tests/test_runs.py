"""Runs and their folders."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sb3_contrib import TRPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from sb3_gail import Demonstrations
from sb3_gail.callbacks import GAILCallback, TargetKLCallback
from sb3_gail.data import shipped
from sb3_gail.evaluation import evaluate
from sb3_gail.runs import Run, load_agent, load_demonstrations, make_model, resume, train, train_expert
from sb3_gail.schedules import value_at
from sb3_gail.settings import ExpertSettings, TrainSettings

SMALL: dict[str, Any] = {
    "total_timesteps": 1000,
    "n_envs": 4,
    "learner": {"n_steps": 64},
    "trajectories": 2,
    "subsample": 10,
    "eval_freq": 256,
    "n_eval_episodes": 2,
    "checkpoint_freq": 256,
}
STEPS = 1024
"""Where a run of 1000 steps ends, with rollouts of 4 x 64."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run."""
    return train(TrainSettings(**SMALL, run_dir=tmp_path_factory.mktemp("runs") / "finished"))


def test_folder_holds_everything(run: Run) -> None:
    assert sorted(path.name for path in run.path.iterdir()) == [
        "baselines.json",
        "checkpoint.zip",
        "discriminator.pt",
        "evaluation.json",
        "model.zip",
        "progress.csv",
        "settings.json",
        "vecnormalize.pkl",
    ]


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


def test_evaluation_is_that_of_the_saved_model(run: Run) -> None:
    model = load_agent(run.path)
    venv = model.get_env()
    assert venv is not None
    final = run.evaluation
    assert final["timesteps"] == STEPS
    assert final["mean_return"] == np.mean(final["returns"])
    np.testing.assert_array_equal(evaluate(model, venv, n_episodes=1).returns, final["returns"][:1])


def test_unfinished_run_gives_the_agent_of_its_checkpoint(run: Run, tmp_path: Path) -> None:
    for name in ("settings.json", "checkpoint.zip"):
        (tmp_path / name).write_bytes((run.path / name).read_bytes())
    of_checkpoint, of_model = load_agent(tmp_path).policy.state_dict(), load_agent(run.path).policy.state_dict()
    for name, parameter in of_model.items():
        torch.testing.assert_close(of_checkpoint[name], parameter)


def test_saved_model_needs_its_class_and_environment(run: Run) -> None:
    agent = load_agent(run.model, env="CartPole-v1", algorithm="trpo")
    assert agent.get_vec_normalize_env() is not None
    with pytest.raises(ValueError, match="give env and algorithm, got 'CartPole-v1' and None"):
        load_agent(run.model, env="CartPole-v1")
    with pytest.raises(ValueError, match="expected a model of sac that SB3 saved"):
        load_agent(run.model, env="CartPole-v1", algorithm="sac")


def test_finished_run_stays_as_it_is(run: Run) -> None:
    before = run.model.stat().st_mtime_ns
    assert resume(run.path).evaluation == run.evaluation
    assert run.model.stat().st_mtime_ns == before


def test_same_seed_gives_the_same_run(run: Run, tmp_path: Path) -> None:
    assert train(replace(run.settings, run_dir=tmp_path / "again")).evaluation == run.evaluation  # type: ignore[arg-type]


@pytest.mark.parametrize(("algorithm", "learner", "end"), [("trpo", {"n_steps": 64}, 5120), ("a2c", {}, 5000)])
def test_killed_run_goes_on_to_the_same_end(algorithm: str, learner: dict[str, int], end: int, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    settings = {**SMALL, "total_timesteps": 5000, "algorithm": algorithm, "learner": learner}
    code = f"from sb3_gail.runs import *; train(TrainSettings(**{settings!r}, run_dir=Path({str(folder)!r})))"
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"})
    while not (folder / "checkpoint.zip").is_file() and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    assert Run(folder).curve()[-1].timesteps < 4000
    assert not Run(folder).model.exists()

    run = resume(folder)
    assert run.evaluation["timesteps"] == end
    assert [point.timesteps for point in run.curve()] == list(range(256, end + 1, 256))
    assert len(list(folder.glob("progress*.csv"))) == 2


def test_run_that_was_stopped_before_its_first_checkpoint_begins_again(run: Run, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_bytes((run.path / "settings.json").read_bytes())
    with pytest.raises(FileNotFoundError, match="stopped before it saved anything"):
        load_agent(tmp_path)
    assert resume(tmp_path).evaluation == run.evaluation


def test_run_that_was_stopped_between_training_and_evaluation_is_evaluated(run: Run, tmp_path: Path) -> None:
    for name in ("settings.json", "checkpoint.zip", "baselines.json", "progress.csv"):
        (tmp_path / name).write_bytes((run.path / name).read_bytes())
    resumed = resume(tmp_path)
    assert resumed.evaluation == run.evaluation
    assert resumed.curve() == run.curve()


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


def test_default_folders_are_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = ExpertSettings(total_timesteps=128, n_envs=2, learner={"n_steps": 64}, n_eval_episodes=1)
    assert [train_expert(settings).path for _ in range(2)] == [
        Path("runs/CartPole-v1-trpo-1"),
        Path("runs/CartPole-v1-trpo-2"),
    ]


def test_bad_demonstrations_leave_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no demonstrations ship for 'Acrobot-v1', only for: CartPole-v1, Hopper-v5"):
        train(TrainSettings(env="Acrobot-v1", run_dir=tmp_path / "run"))
    with pytest.raises(ValueError, match="observations"):
        train(TrainSettings(env="Acrobot-v1", demonstrations=shipped("CartPole-v1"), run_dir=tmp_path / "run"))
    with pytest.raises(FileNotFoundError, match=r"expected a file of demonstrations, got '.*none.npz'; give the path"):
        train(TrainSettings(demonstrations=tmp_path / "none.npz", run_dir=tmp_path / "run"))
    with pytest.raises(ValueError, match="expected the id of a Gymnasium environment, got 'Nowhere-v1'"):
        train(TrainSettings(env="Nowhere-v1", run_dir=tmp_path / "run"))
    with pytest.raises(ValueError, match="expected the id of a Gymnasium environment, got 'CartPole-v77'"):
        train(TrainSettings(env="CartPole-v77", demonstrations=shipped("CartPole-v1"), run_dir=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_learner_that_cannot_be_made_leaves_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(ValueError, match=r"an environment that trpo can learn with, got .*batch_size=0"):
        train(TrainSettings(**{**SMALL, "learner": {"n_steps": 64, "batch_size": 0}}, run_dir=folder))
    with pytest.raises(ValueError, match=r"an environment that sac can learn with, got .*Discrete"):
        train_expert(ExpertSettings(algorithm="sac", run_dir=folder))
    assert not folder.exists()
    assert train(TrainSettings(**SMALL, run_dir=folder)).path == folder


def test_trajectories_that_there_are_not_are_refused() -> None:
    with pytest.raises(ValueError, match="trajectories must be at most 10, the episodes that there are, got 11"):
        load_demonstrations(TrainSettings(trajectories=11))
    assert load_demonstrations(TrainSettings(trajectories=10)).n_episodes == 10


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected the folder of a run"):
        resume(tmp_path)


def test_demonstrations_without_rewards_give_no_score(tmp_path: Path) -> None:
    known = Demonstrations.load(shipped("CartPole-v1")).take(2)
    Demonstrations.from_arrays(
        known.whole.observations, known.whole.actions, lengths=known.lengths, env_id="CartPole-v1"
    ).save(tmp_path / "no_rewards.npz")
    run = train(TrainSettings(**SMALL, demonstrations=tmp_path / "no_rewards.npz", run_dir=tmp_path / "run"))
    assert run.baselines["demonstrations"] is None
    assert run.evaluation["score"] is None
    assert {point.score for point in run.curve()} == {None}


def test_settings_reach_what_they_are_about() -> None:
    settings = TrainSettings(
        **{**SMALL, "learner": {"n_steps": 32, "target_kl": 0.05}},
        discriminator={"reward": "airl", "batch_size": 32},
        replay_rollouts=3,
    )
    model, callbacks = make_model(settings)
    gail = callbacks[0]
    assert isinstance(gail, GAILCallback)
    assert (model.n_steps, model.target_kl) == (32, 0.05)  # type: ignore[attr-defined]
    assert (gail.adversary.config.reward, gail.adversary.config.batch_size) == ("airl", 32)  # type: ignore[attr-defined]
    assert gail.replay.maxlen == 3
    (settling,) = callbacks[1:]
    assert isinstance(settling, TargetKLCallback)
    assert [value_at(settling.target_kl, remaining) for remaining in (1.0, 0.0)] == pytest.approx([0.05, 0.0025])
    whole = Demonstrations.load(shipped("CartPole-v1"))
    assert gail.demonstrations.n_episodes == 2
    assert len(gail.demonstrations) == pytest.approx(whole.lengths[:2].sum() / 10, abs=2)


def test_environment_decides_where_nothing_is_said(tmp_path: Path) -> None:
    settings = TrainSettings(**{**SMALL, "n_envs": None, "learner": {}, "total_timesteps": 1}, run_dir=tmp_path / "run")
    run = train(settings)
    assert run.settings.n_envs == 8
    assert run.settings.learner["n_steps"] == 256
    assert run.evaluation["timesteps"] == 2048


def test_control_has_other_pairs_and_the_same_score() -> None:
    shuffled = load_demonstrations(TrainSettings(shuffle_demonstrations=True))
    known = Demonstrations.load(shipped("CartPole-v1"))
    assert shuffled.mean_return == known.mean_return
    assert not np.array_equal(np.asarray(shuffled.whole.actions), np.asarray(known.whole.actions))


def test_expert_learns_from_the_true_reward_and_can_be_recorded(tmp_path: Path) -> None:
    settings = ExpertSettings(
        algorithm="ppo", total_timesteps=4096, n_envs=4, n_eval_episodes=4, run_dir=tmp_path / "expert"
    )
    run = train_expert(settings)
    assert run.evaluation["mean_return"] > 60  # random actions: about 24
    agent = load_agent(run.path)
    venv = agent.get_env()
    assert venv is not None
    demonstrations = Demonstrations.from_agent(agent, venv, 2, deterministic=True)
    assert demonstrations.mean_return is not None
    assert demonstrations.mean_return > 40
    with pytest.raises(ValueError, match="got an expert's"):
        resume(run.path)


def test_off_policy_expert_has_no_vec_normalize(tmp_path: Path) -> None:
    run = train_expert(
        ExpertSettings(env="Pendulum-v1", algorithm="sac", total_timesteps=256, run_dir=tmp_path / "run")
    )
    assert not (run.path / "vecnormalize.pkl").exists()
    assert load_agent(run.path).get_vec_normalize_env() is None


@pytest.mark.parametrize(
    ("model", "statistics"),
    [
        ("best_model.zip", "best_vecnormalize.pkl"),
        ("rl_model_96_steps.zip", "rl_model_vecnormalize_96_steps.pkl"),
        ("agent.zip", "vecnormalize.pkl"),
    ],
)
def test_saved_models_find_their_own_statistics(model: str, statistics: str, tmp_path: Path) -> None:
    venv: Any = VecNormalize(make_vec_env("CartPole-v1"))
    TRPO("MlpPolicy", venv, n_steps=128).save(tmp_path / model)
    venv.save(str(tmp_path / "vecnormalize.pkl"))
    venv.obs_rms.mean[:] = 7.0
    venv.save(str(tmp_path / statistics))
    found: Any = load_agent(tmp_path / model, env="CartPole-v1", algorithm="trpo").get_vec_normalize_env()
    assert found.obs_rms.mean.tolist() == [7.0] * 4


@pytest.mark.parametrize(
    ("settings", "error"), [({"wandb_project": "tests"}, ImportError), ({"learner": {"target_kl": 0}}, ValueError)]
)
def test_what_is_wrong_leaves_no_folder(
    settings: dict[str, Any], error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb.sdk", None)
    with pytest.raises(error):
        train(TrainSettings(**{**SMALL, **settings}, run_dir=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_weights_and_biases_gets_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb.sdk")  # a folder of runs is a `wandb`, too
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = train(TrainSettings(**SMALL, wandb_project="tests", run_dir=tmp_path / "run"))
    (recorded,) = run.path.glob("wandb/offline-run-*/run-*.wandb")
    assert recorded.stat().st_size > 0
