"""Every example runs, with small settings."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import VecNormalize

from sb3_gail import Demonstrations
from sb3_gail.data import shipped

EXAMPLES = Path(__file__).parent.parent / "examples"
MUJOCO = "Hopper-v5"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=["CartPole-v1", MUJOCO])
def env_id(request: pytest.FixtureRequest) -> str:
    """An environment without needs, and the one that the examples are about."""
    name: str = request.param
    if name == MUJOCO:
        pytest.importorskip("mujoco")
        gymnasium = pytest.importorskip("gymnasium", minversion="1.0")
        assert name in gymnasium.registry
    shipped(name)
    return name


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_train_gail_and_its_repetition(env_id: str) -> None:
    models = [
        example("train_gail").main(
            env_id=env_id, total_timesteps=256, n_steps=128, eval_freq=128, n_eval_episodes=2, progress_bar=False
        )
        for _ in range(2)
    ]
    assert models[0].num_timesteps == 256
    once, again = (torch.nn.utils.parameters_to_vector(model.policy.parameters()) for model in models)
    assert torch.equal(once, again)
    assert sorted(path.name for path in Path("runs/train_gail").iterdir()) == ["discriminator.pt", "model.zip"]


def test_vectorised_goes_on_where_it_stopped(env_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    main = example("vectorised").main
    settings = {"env_id": env_id, "n_envs": 2, "n_steps": 64, "n_eval_episodes": 2, "eval_freq": 128, "save_freq": 128}
    first = main(total_timesteps=128, **settings, progress_bar=False)
    assert first.num_timesteps == 128
    assert "Going on" not in capsys.readouterr().out
    second = main(total_timesteps=384, **settings, progress_bar=False)
    assert "Going on after 128 steps" in capsys.readouterr().out
    assert second.num_timesteps == 384
    assert isinstance(second.get_vec_normalize_env(), VecNormalize)
    assert {"checkpoint.zip", "model.zip", "vecnormalize.pkl"} <= {p.name for p in Path("runs/vectorised").iterdir()}


def test_bc_then_gail() -> None:
    scores = example("bc_then_gail").main(
        env_id="CartPole-v1",
        total_timesteps=256,
        n_envs=2,
        n_steps=64,
        epochs=5,
        half_life=100,
        n_eval_episodes=2,
        progress_bar=False,
    )
    assert list(scores) == ["cloned", "after GAIL"]
    assert all(map(math.isfinite, scores.values()))


def test_frozen_reward(capsys: pytest.CaptureFixture[str]) -> None:
    scores = example("frozen_reward").main(
        seeds=(0, 1),
        n_demonstrations=4,
        imitation_timesteps=2048,
        fresh_timesteps=256,
        n_envs=4,
        n_steps=64,
        n_eval_episodes=40,
    )
    assert len(scores) == 16
    assert all(len(each) == 2 and np.isfinite(each).all() for each in scores.values())
    table = capsys.readouterr().out.split("mean score")[1]
    assert all(method in table and trained in table for method, trained in scores)
    assert len(list(Path("runs/frozen_reward").glob("*.pt"))) == 8


def test_the_dynamics_of_the_frozen_rewards_example() -> None:
    maze = example("frozen_reward").Maze
    learned, moved, reversed_actions = maze(), maze(door=0), maze(reversed_actions=True)
    below_door, up, down = 23, 1, 3  # the last cell of the first row below the wall
    assert learned.following[below_door, up] == 17
    assert moved.following[below_door, up] == below_door
    assert moved.following[18, up] == 12
    assert reversed_actions.following[below_door, down] == 17
    assert reversed_actions.following[12, up] == 12
    for each in (learned, moved, reversed_actions):
        assert each.following.min() == 0
        assert each.following.max() == 35
        assert (each.following[:, 0] == np.arange(36)).all()


def test_wandb_logging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb.sdk")  # a folder of runs is a `wandb`, too
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run_id = example("wandb_logging").main(
        total_timesteps=256,
        n_envs=2,
        n_steps=64,
        eval_freq=128,
        n_eval_episodes=2,
        progress_bar=False,
        dir=str(tmp_path),
    )
    assert list(tmp_path.glob(f"wandb/offline-run-*-{run_id}"))


def test_imitation_interop() -> None:
    pytest.importorskip("imitation")
    mean_return = example("imitation_interop").main(
        total_timesteps=256, n_envs=2, n_steps=64, epochs=2, n_eval_episodes=2, progress_bar=False
    )
    assert mean_return >= 1


def test_shipped_demonstrations_suffice_for_the_examples(env_id: str) -> None:
    demonstrations = Demonstrations.load(shipped(env_id))
    assert demonstrations.n_episodes >= 4
    assert demonstrations.mean_return is not None
