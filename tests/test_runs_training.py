"""Training into a folder."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stable_baselines3.common.callbacks as callbacks
from small_run import SMALL, STEPS, kill_at_first_checkpoint

from sb3_gail import Demonstrations
from sb3_gail.callbacks import GAILCallback
from sb3_gail.data import shipped
from sb3_gail.evaluation import evaluate
from sb3_gail.files import held
from sb3_gail.runs import Run, load_agent, resume, train, train_expert
from sb3_gail.runs.settings import ExpertSettings, TrainSettings


def test_folder_holds_everything(run: Run) -> None:
    assert sorted(path.name for path in run.path.iterdir()) == [
        ".lock",
        "baselines.json",
        "checkpoint.zip",
        "discriminator.pt",
        "evaluation.json",
        "model.zip",
        "progress.csv",
        "settings.json",
        "vecnormalize.pkl",
    ]


def test_evaluation_is_that_of_the_saved_model(run: Run) -> None:
    model = load_agent(run.path)
    venv = model.get_env()
    assert venv is not None
    final = run.evaluation
    assert final["timesteps"] == STEPS
    assert final["mean_return"] == np.mean(final["returns"])
    np.testing.assert_array_equal(evaluate(model, venv, n_episodes=1).returns, final["returns"][:1])


def test_finished_run_stays_as_it_is(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    before = run.model.stat().st_mtime_ns
    assert resume(run.path, progress=True).evaluation == run.evaluation
    assert capsys.readouterr().out == f"The run in {run.path} has ended already\n"
    assert run.model.stat().st_mtime_ns == before


def test_same_seed_gives_the_same_run(run: Run, tmp_path: Path) -> None:
    assert train(replace(run.settings, run_dir=tmp_path / "again")).evaluation == run.evaluation  # type: ignore[arg-type]


def test_a_run_is_trained_by_one_process_at_a_time(run: Run, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_bytes((run.path / "settings.json").read_bytes())
    with held(tmp_path), pytest.raises(BlockingIOError, match="another process works on"):
        resume(tmp_path)
    assert not (tmp_path / "progress.csv").exists()


def test_a_single_transition_is_cloned(tmp_path: Path) -> None:
    settings = {**SMALL, "trajectories": 1, "subsample": 500, "pretrain": True}
    assert train(TrainSettings(**settings, run_dir=tmp_path / "run")).model.is_file()


@pytest.mark.parametrize(("algorithm", "learner", "end"), [("trpo", {"n_steps": 64}, 5120), ("a2c", {}, 5000)])
def test_killed_run_goes_on_to_the_same_end(algorithm: str, learner: dict[str, int], end: int, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    settings = {**SMALL, "total_timesteps": 5000, "algorithm": algorithm, "learner": learner}
    imports = "from pathlib import Path; from sb3_gail.runs import TrainSettings, train"
    code = f"{imports}; train(TrainSettings(**{settings!r}, run_dir=Path({str(folder)!r})))"
    kill_at_first_checkpoint(code, folder)
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


def test_demonstrations_without_rewards_give_no_score(tmp_path: Path) -> None:
    known = Demonstrations.load(shipped("CartPole-v1")).take(2)
    Demonstrations.from_arrays(
        known.whole.observations, known.whole.actions, lengths=known.lengths, env_id="CartPole-v1"
    ).save(tmp_path / "no_rewards.npz")
    run = train(TrainSettings(**SMALL, demonstrations=tmp_path / "no_rewards.npz", run_dir=tmp_path / "run"))
    assert run.baselines["demonstrations"] is None
    assert run.evaluation["score"] is None
    assert {point.score for point in run.curve()} == {None}


def test_environment_decides_where_nothing_is_said(tmp_path: Path) -> None:
    settings = TrainSettings(**{**SMALL, "n_envs": None, "learner": {}, "total_timesteps": 1}, run_dir=tmp_path / "run")
    run = train(settings)
    assert run.settings.n_envs == 8
    assert run.settings.learner["n_steps"] == 256
    assert run.evaluation["timesteps"] == 2048


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


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_progress_bar_is_closed_however_training_ends(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = []

    class Bar(callbacks.tqdm):  # type: ignore[misc, name-defined]  # what SB3 draws, if it is installed
        def __init__(self, *args: Any, **settings: Any) -> None:
            super().__init__(*args, **settings)
            bars.append(self)

    def stop(callback: GAILCallback) -> None:
        raise error

    monkeypatch.setattr(callbacks, "tqdm", Bar)
    monkeypatch.setattr(GAILCallback, "_on_rollout_end", stop)
    with pytest.raises(error):
        train(TrainSettings(**SMALL, run_dir=tmp_path / "run"), progress=True)
    assert [bar.disable for bar in bars] == [True]  # as tqdm's are once they are closed


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
