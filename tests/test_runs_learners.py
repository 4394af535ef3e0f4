"""Named learners, and what they train on."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from sb3_contrib import TRPO
from spaces_env import DICT, IMAGE, SpacesEnv, random_demonstrations
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from sb3_gail import Demonstrations
from sb3_gail.adapters import EnvPoolVecEnv
from sb3_gail.runs import learners, load_agent, resume, train, train_expert
from sb3_gail.runs.experiment import make_model, make_plain_model, resolve_settings
from sb3_gail.runs.learners import (
    VecEnvKind,
    choose_n_envs,
    choose_vec_env,
    exploring_share,
    imitating_policy,
    learner_settings,
    make_learner,
    make_venv,
    rollout_settings,
)
from sb3_gail.runs.settings import ExpertSettings, TrainSettings

SMALL: dict[str, Any] = {
    "env": "Hopper-v5",
    "total_timesteps": 256,
    "n_envs": 4,
    "learner": {"n_steps": 64},
    "trajectories": 1,
    "eval_freq": 256,
    "n_eval_episodes": 2,
    "checkpoint_freq": 256,
}


@pytest.fixture
def no_envpool(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it were not installed."""
    monkeypatch.setitem(sys.modules, "envpool", None)


def unwrapped(venv: VecEnv | None) -> VecEnv:
    """What is inside all wrappers."""
    assert venv is not None
    return venv.unwrapped


@pytest.mark.parametrize(("env", "n_envs"), [("Pendulum-v1", 32), ("CartPole-v1", 8)])
def test_copies_follow_from_the_actions(env: str, n_envs: int) -> None:
    assert resolve_settings(ExpertSettings(env=env)).n_envs == n_envs
    assert resolve_settings(ExpertSettings(env=env, n_envs=5)).n_envs == 5


def box(*shape: int) -> spaces.Box:
    return spaces.Box(-1, 1, shape)


@pytest.mark.parametrize(("episode_length", "n_envs"), [(64, 32), (64.5, 8), (256, 8), (256.5, 32), (None, 32)])
def test_few_copies_where_they_show_whole_episodes_and_many_do_not(episode_length: float | None, n_envs: int) -> None:
    assert choose_n_envs(box(1), episode_length=episode_length) == n_envs
    assert choose_n_envs(spaces.Discrete(2), episode_length=episode_length) == 8


@pytest.mark.parametrize(("algorithm", "n_envs", "n_steps"), [("trpo", 32, 64), ("ppo", 8, 256), ("trpo", 4096, 1)])
def test_copies_share_a_rollout(algorithm: str, n_envs: int, n_steps: int) -> None:
    assert rollout_settings(algorithm, n_envs, box(3)) == {"n_steps": n_steps}


@pytest.mark.parametrize(
    ("space", "n_steps"),
    [
        (box(200), 64),
        (box(201), 512),
        (box(20, 20), 512),
        (spaces.Box(0, 255, (64, 64, 3), np.uint8), 64),
        (spaces.Dict({"state": box(201)}), 64),
    ],
    ids=["short", "long", "matrix", "image", "dict"],
)
def test_a_rollout_is_longer_where_observations_are_long_vectors(space: spaces.Space[Any], n_steps: int) -> None:
    assert rollout_settings("trpo", 32, space) == {"n_steps": n_steps}


@pytest.mark.parametrize(("overrides", "n_steps"), [({}, 512), ({"n_steps": 64}, 64)])
def test_a_learner_gets_the_rollouts_of_its_environment(
    overrides: dict[str, Any], n_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = EnvSpec("Long-v0", entry_point=lambda **_: SpacesEnv(box(348), box(2)))
    monkeypatch.setitem(gym.registry, "Long-v0", spec)
    model = make_plain_model(ExpertSettings(env="Long-v0", learner=overrides))
    assert isinstance(model, TRPO)
    assert model.n_steps == n_steps


@pytest.mark.parametrize("algorithm", ["a2c", "sac"])
def test_only_learners_from_long_rollouts_share_one(algorithm: str) -> None:
    assert rollout_settings(algorithm, 8, box(3)) == {}


def test_overrides_are_checked() -> None:
    assert learner_settings("ppo", {"gamma": 0.5})["gamma"] == 0.5
    with pytest.raises(ValueError, match="ppo has no setting 'gama'"):
        learner_settings("ppo", {"gama": 0.5})
    with pytest.raises(ValueError, match="algorithm must be one of trpo, ppo, a2c, sac, got 'dqn'"):
        learner_settings("dqn", {})


def test_copies_have_following_seeds() -> None:
    venv = make_venv("CartPole-v1", n_envs=3, seed=4)
    assert isinstance(venv, DummyVecEnv)
    observations: Any = venv.reset()
    for copy in range(3):
        assert observations[copy].tolist() == gym.make("CartPole-v1").reset(seed=4 + copy)[0].tolist()


@pytest.mark.parametrize("vec_env", ["auto", "dummy"])
def test_unknown_environment_is_refused(vec_env: VecEnvKind) -> None:
    with pytest.raises(ValueError, match="expected the id of a Gymnasium environment, got 'Nothing-v0'"):
        make_venv("Nothing-v0", n_envs=1, seed=0, vec_env=vec_env)


@pytest.mark.parametrize(("missing", "ours"), [("MuJoCo is not installed", True), ("Box2D is not installed", False)])
def test_what_an_environment_needs_is_said(missing: str, ours: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **settings: Any) -> None:
        raise gym.error.DependencyNotInstalled(missing)

    monkeypatch.setattr(learners, "make_vec_env", refuse)
    with pytest.raises(ValueError, match=f"needs more than is installed: {missing}") as raised:
        make_venv("LunarLander-v3", n_envs=1, seed=0)
    assert ("sb3-gail[mujoco]" in str(raised.value)) is ours


@pytest.mark.usefixtures("no_envpool")
def test_without_envpool_auto_is_dummy() -> None:
    assert choose_vec_env("CartPole-v1", "auto") == "dummy"
    assert isinstance(make_venv("CartPole-v1", n_envs=1, seed=0, vec_env="auto"), DummyVecEnv)
    with pytest.raises(ImportError, match=r"sb3-gail\[envpool\]"):
        make_venv("CartPole-v1", n_envs=1, seed=0, vec_env="envpool")


@pytest.mark.parametrize(("has", "chosen"), [(True, "envpool"), (False, "dummy")])
def test_auto_is_envpool_where_it_has_the_environment(has: bool, chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learners, "envpool_has", lambda env_id: has)
    assert choose_vec_env("CartPole-v1", "auto") == chosen
    assert choose_vec_env("CartPole-v1", "dummy") == "dummy"
    assert choose_vec_env("CartPole-v1", "envpool") == "envpool"


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="vec_env must be one of auto, envpool, dummy, got 'subproc'"):
        TrainSettings(vec_env="subproc")  # type: ignore[arg-type]


@pytest.mark.usefixtures("no_envpool")
def test_run_without_envpool_says_and_records_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {**SMALL, "env": "CartPole-v1"}
    run = train(TrainSettings(**settings, run_dir=tmp_path / "run"), progress=True)
    assert run.settings.vec_env == "dummy"
    assert "4 environments of CartPole-v1 in DummyVecEnv (--vec-env dummy)" in capsys.readouterr().out


class TestEnvPool:
    @pytest.fixture(autouse=True)
    def _envpool(self) -> None:
        pytest.importorskip("envpool")
        pytest.importorskip("mujoco")

    def test_auto_takes_it(self) -> None:
        venv = make_venv("Hopper-v5", n_envs=3, seed=0, vec_env="auto")
        assert isinstance(venv, EnvPoolVecEnv)
        assert venv.num_envs == 3
        model, _ = make_model(TrainSettings(**SMALL))
        assert isinstance(unwrapped(model.get_env()), EnvPoolVecEnv)

    @pytest.mark.parametrize("env_id", ["Hopper-v5", "CartPole-v1"])
    def test_run_says_records_and_repeats_it(
        self, env_id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        settings = {**SMALL, "env": env_id}
        run = train(TrainSettings(**settings, run_dir=tmp_path / "run"), progress=True)
        assert f"4 environments of {env_id} in EnvPool (--vec-env envpool)" in capsys.readouterr().out
        assert json.loads((run.path / "settings.json").read_text())["vec_env"] == "envpool"
        again = train(TrainSettings(**settings, run_dir=tmp_path / "again"))
        assert again.evaluation == run.evaluation

    def test_resumed_run_keeps_what_it_began_with(self, tmp_path: Path) -> None:
        kinds: tuple[VecEnvKind, ...] = ("envpool", "dummy")
        for kind in kinds:
            run = train(TrainSettings(**SMALL, vec_env=kind, run_dir=tmp_path / kind))
            run.model.unlink()
            resumed = resume(run.path)
            assert resumed.settings.vec_env == kind
            assert resumed.evaluation == run.evaluation

    def test_expert_records_it(self, tmp_path: Path) -> None:
        settings = ExpertSettings(
            env="Hopper-v5", total_timesteps=128, n_envs=2, learner={"n_steps": 64}, run_dir=tmp_path / "run"
        )
        assert train_expert(settings).settings.vec_env == "envpool"

    @pytest.mark.parametrize("kind", ["envpool", "dummy"])
    def test_agents_load_on_either(self, kind: VecEnvKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        run = train(TrainSettings(**SMALL, vec_env=kind, run_dir=tmp_path / "run"))
        own = unwrapped(load_agent(run.path).get_env())
        assert isinstance(own, EnvPoolVecEnv if kind == "envpool" else DummyVecEnv)
        by_file = load_agent(run.model, env="Hopper-v5", algorithm="trpo").get_env()
        assert isinstance(unwrapped(by_file), DummyVecEnv)
        other = EnvSpec("Other-v0", entry_point=gym.spec("Hopper-v5").entry_point, max_episode_steps=1000)
        monkeypatch.setitem(gym.registry, "Other-v0", other)
        by_other_id = load_agent(run.path, env="Other-v0").get_env()
        assert isinstance(unwrapped(by_other_id), DummyVecEnv)

    def test_agent_loads_where_envpool_is_missing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        run = train(TrainSettings(**SMALL, vec_env="envpool", run_dir=tmp_path / "run"))
        monkeypatch.setattr(learners, "envpool_has", lambda env_id: False)
        assert isinstance(unwrapped(load_agent(run.path).get_env()), DummyVecEnv)

    def test_models_load_on_the_other_width_of_floats(self, tmp_path: Path) -> None:
        for number, venv in enumerate((EnvPoolVecEnv("Hopper-v5", 2), make_venv("Hopper-v5", n_envs=2, seed=0))):
            TRPO("MlpPolicy", venv, n_steps=64).save(tmp_path / f"{number}.zip")
            agent = load_agent(tmp_path / f"{number}.zip", env="Hopper-v5", algorithm="trpo")
            assert isinstance(unwrapped(agent.get_env()), DummyVecEnv)

    def test_agents_do_not_load_on_other_spaces(self, tmp_path: Path) -> None:
        run = train(TrainSettings(**SMALL, run_dir=tmp_path / "run"))
        with pytest.raises(ValueError, match="same shape"):
            load_agent(run.path, env="Walker2d-v5")


def demonstrated(actions: Any, action_space: spaces.Space[Any]) -> Demonstrations:
    """An episode with some actions."""
    return Demonstrations.from_arrays(
        np.zeros((len(actions) + 1, 1)), np.asarray(actions), lengths=[len(actions)], action_space=action_space
    )


def test_first_actions_deviate_as_much_as_the_experts() -> None:
    bounded = spaces.Box(-2.0, 2.0, (2,))
    demonstrations = demonstrated([[1.0, 0.5], [-1.0, 0.5], [1.0, 0.5], [-1.0, 0.5]], bounded)
    log_deviation = imitating_policy(demonstrations)["policy_kwargs"]["log_std_init"]
    assert math.exp(log_deviation) == pytest.approx(math.sqrt((1.0 + 0.0) / 2))


@pytest.mark.parametrize(("bound", "deviation"), [(2.0, 0.2), (np.inf, 0.1)])
def test_an_expert_who_hardly_moves_is_explored(bound: float, deviation: float) -> None:
    demonstrations = demonstrated([[0.3], [0.31]] * 2, spaces.Box(-bound, bound, (1,)))
    log_deviation = imitating_policy(demonstrations)["policy_kwargs"]["log_std_init"]
    assert math.exp(log_deviation) == pytest.approx(deviation)


@pytest.mark.parametrize(("half_range", "deviation", "share"), [(1.0, 0.06, 0.8), (5.0, 0.3, 0.8), (1.0, 0.1, 0.0)])
def test_what_is_added_for_exploration_stays(half_range: float, deviation: float, share: float) -> None:
    demonstrations = demonstrated([[deviation], [-deviation]] * 2, spaces.Box(-half_range, half_range, (1,)))
    assert exploring_share(demonstrations) == pytest.approx(share, abs=1e-3)


def test_actions_that_may_be_made_up_do_not_count() -> None:
    made_up = demonstrated([[0.3]] * 7, spaces.Box(-1, 1, (1,)))
    assert imitating_policy(made_up) == {}
    assert exploring_share(made_up) == 0


@pytest.mark.parametrize("observation_space", [IMAGE, DICT], ids=["image", "dict"])
def test_actor_and_critic_look_at_images_each_with_its_own_network(observation_space: spaces.Space[Any]) -> None:
    action_space = spaces.Discrete(2)
    settings = imitating_policy(random_demonstrations(observation_space, action_space))
    venv = DummyVecEnv([lambda: SpacesEnv(observation_space, action_space)])
    policy: Any = make_learner("a2c", venv, settings, seed=0, device="auto").policy
    assert policy.pi_features_extractor is not policy.vf_features_extractor


def test_choices_do_not_deviate() -> None:
    choices = demonstrated([0, 1], spaces.Discrete(2))
    assert imitating_policy(choices) == {}
    assert exploring_share(choices) == 0
