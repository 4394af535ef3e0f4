"""Trained agents from files."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch
from sb3_contrib import TRPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from sb3_gail.data import shipped
from sb3_gail.evaluation import evaluate
from sb3_gail.runs import Run, load_agent, train, train_expert
from sb3_gail.runs.settings import ExpertSettings, TrainSettings


def test_unfinished_run_gives_the_agent_of_its_checkpoint(run: Run, tmp_path: Path) -> None:
    for name in ("settings.json", "checkpoint.zip"):
        (tmp_path / name).write_bytes((run.path / name).read_bytes())
    of_checkpoint, of_model = load_agent(tmp_path).policy.state_dict(), load_agent(run.path).policy.state_dict()
    for name, parameter in of_model.items():
        torch.testing.assert_close(of_checkpoint[name], parameter)


def test_unfinished_run_needs_neither_its_demonstrations_nor_its_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("envpool")
    pytest.importorskip("mujoco")
    demonstrations = Path(shutil.copy(shipped("Hopper-v5"), tmp_path / "demonstrations.npz"))
    settings = TrainSettings(
        env="Hopper-v5", demonstrations=demonstrations, total_timesteps=512, n_envs=2, learner={"n_steps": 128}
    )
    settings = replace(settings, checkpoint_freq=256, eval_freq=10_000, n_eval_episodes=1, run_dir=tmp_path / "run")
    run = train(settings)
    of_model = load_agent(run.path).policy.state_dict()
    run.model.unlink()
    demonstrations.unlink()
    monkeypatch.setattr("sb3_gail.runs.learners.envpool_has", lambda env_id: False)
    random_state = torch.get_rng_state()
    agent = load_agent(run.path)
    assert torch.equal(torch.get_rng_state(), random_state)
    for name, parameter in agent.policy.state_dict().items():
        torch.testing.assert_close(parameter, of_model[name])
    statistics: Any = agent.get_vec_normalize_env()
    assert statistics.obs_rms.count > 512
    assert evaluate(agent, gym.make("Hopper-v5"), n_episodes=1).returns.shape == (1,)


def test_saved_model_needs_its_class_and_environment(run: Run) -> None:
    agent = load_agent(run.model, env="CartPole-v1", algorithm="trpo")
    assert agent.get_vec_normalize_env() is not None
    with pytest.raises(
        ValueError, match=r"give env and algorithm \(--env and --algorithm\), got 'CartPole-v1' and None"
    ):
        load_agent(run.model, env="CartPole-v1")
    with pytest.raises(ValueError, match="expected a model of sac that SB3 saved, or a run's folder"):
        load_agent(run.model, env="CartPole-v1", algorithm="sac")


def test_what_is_not_the_models_is_named(run: Run, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a run's folder or a model .*got 'nowhere\.zip', which is not there"):
        load_agent("nowhere.zip", env="CartPole-v1", algorithm="trpo")
    with pytest.raises(ValueError, match=r"beside 'model\.zip', got '.*vecnormalize\.pkl'"):
        load_agent(run.model, env="Acrobot-v1", algorithm="trpo")
    model = Path(shutil.copy(run.model, tmp_path))
    with pytest.raises(ValueError, match=r"expected a model of trpo that SB3 saved.*model\.zip.*spaces"):
        load_agent(model, env="Acrobot-v1", algorithm="trpo")


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
