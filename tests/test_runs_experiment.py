"""What settings make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from small_run import SMALL, made_up_expert

from sb3_gail import Demonstrations
from sb3_gail.callbacks import GAILCallback, MinimumStdCallback, TargetKLCallback
from sb3_gail.data import shipped
from sb3_gail.runs.experiment import Experiment, load_demonstrations, make_model
from sb3_gail.runs.named_adversaries import AdversaryName
from sb3_gail.runs.settings import TrainSettings
from sb3_gail.schedules import value_at


def test_trajectories_that_there_are_not_are_refused() -> None:
    with pytest.raises(ValueError, match="trajectories must be at most 10, the episodes that there are, got 11"):
        load_demonstrations(TrainSettings(trajectories=11))
    assert load_demonstrations(TrainSettings(trajectories=10)).n_episodes == 10


def test_settings_reach_what_they_are_about() -> None:
    settings = TrainSettings(
        **{**SMALL, "learner": {"n_steps": 32, "target_kl": 0.05}},
        discriminator={"reward": "airl", "batch_size": 32},
        replay_rollouts=3,
        causal_entropy=0.5,
    )
    model, callbacks = make_model(settings)
    gail = callbacks[0]
    assert isinstance(gail, GAILCallback)
    assert (model.n_steps, model.target_kl) == (32, 0.05)  # type: ignore[attr-defined]
    assert (gail.adversary.config.reward, gail.adversary.config.batch_size) == ("airl", 32)  # type: ignore[attr-defined]
    assert gail.replay.maxlen == 3
    assert gail.causal_entropy == 0.5
    (settling,) = callbacks[1:]
    assert isinstance(settling, TargetKLCallback)
    assert [value_at(settling.target_kl, remaining) for remaining in (1.0, 0.0)] == pytest.approx([0.05, 0.0025])
    whole = Demonstrations.load(shipped("CartPole-v1"))
    assert gail.demonstrations.n_episodes == 2
    assert len(gail.demonstrations) == pytest.approx(whole.lengths[:2].sum() / 10, abs=2)


def test_the_environment_says_what_the_file_does_not(tmp_path: Path) -> None:
    with np.load(shipped("CartPole-v1")) as file:
        np.savez(tmp_path / "bare.npz", **{name: file[name] for name in ("observations", "actions", "lengths")})
    experiment = Experiment(TrainSettings(**SMALL, demonstrations=tmp_path / "bare.npz"))
    assert experiment.callback.demonstrations.action_space == spaces.Discrete(2)
    assert experiment.callback.demonstrations.observation_space.shape == (4,)


def test_an_environment_with_other_spaces_is_named() -> None:
    settings = TrainSettings(env="Blackjack-v1", demonstrations=shipped("CartPole-v1"))
    with pytest.raises(ValueError, match=r"Blackjack-v1: .*expected a Box, Discrete, .*got Tuple"):
        Experiment(settings)


@pytest.mark.parametrize(("adversary", "weight"), [("gail", 0.03), ("airl", 0.0), ("fem", 0.0)])
def test_weight_of_the_entropy_that_nobody_gave_is_spelt_out(adversary: AdversaryName, weight: float) -> None:
    experiment = Experiment(TrainSettings(**SMALL, adversary=adversary))
    assert experiment.settings.causal_entropy == experiment.callback.causal_entropy == weight


@pytest.mark.parametrize(
    ("settings", "pretrain"),
    [
        ({}, True),
        ({"adversary": "fem"}, True),
        ({"pretrain": False}, False),
        ({"discriminator": {"inputs": "ss'"}}, False),
    ],
)
def test_who_reaches_a_goal_is_cloned_first(settings: dict[str, Any], pretrain: bool, tmp_path: Path) -> None:
    file = tmp_path / "mountaineers.npz"
    made_up_expert("MountainCar-v0", [True, True]).save(file)
    experiment = Experiment(TrainSettings(**settings, env="MountainCar-v0", demonstrations=file, vec_env="dummy"))
    assert experiment.settings.pretrain is pretrain


@pytest.mark.parametrize("pretrain", [None, True])
def test_who_stays_alive_is_cloned_if_that_is_asked_for(pretrain: bool | None) -> None:
    assert Experiment(TrainSettings(**SMALL, pretrain=pretrain)).settings.pretrain is bool(pretrain)


@pytest.mark.parametrize(
    ("algorithm", "learner", "share"),
    [
        ("ppo", {}, 0.8),
        ("trpo", {}, 0.8),
        ("ppo", {"use_sde": True}, None),  # has no deviation of its own to hold
        ("ppo", {"policy_kwargs": {"log_std_init": -1.0}}, None),  # somebody's own choice
    ],
)
def test_an_expert_who_hardly_moves_is_explored_to_the_end(
    algorithm: str, learner: dict[str, Any], share: float | None, tmp_path: Path
) -> None:
    actions = np.repeat([[0.12], [-0.12]], 100, axis=0)  # of -2 to 2
    still = Demonstrations.from_arrays(
        np.random.default_rng(0).normal(size=(201, 3)),
        actions,
        lengths=[200],
        truncated=[True],
        action_space=spaces.Box(-2, 2, (1,)),
    )
    still.save(tmp_path / "still.npz")
    settings = {**SMALL, "algorithm": algorithm, "trajectories": 1, "env": "Pendulum-v1", "vec_env": "dummy"}
    _, callbacks = make_model(
        TrainSettings(**{**settings, "demonstrations": tmp_path / "still.npz", "learner": learner})
    )
    shares = [callback.share for callback in callbacks if isinstance(callback, MinimumStdCallback)]
    assert shares == ([] if share is None else [pytest.approx(share)])


def test_control_has_other_pairs_and_the_same_score() -> None:
    shuffled = load_demonstrations(TrainSettings(shuffle_demonstrations=True))
    known = Demonstrations.load(shipped("CartPole-v1"))
    assert shuffled.mean_return == known.mean_return
    assert not np.array_equal(np.asarray(shuffled.whole.actions), np.asarray(known.whole.actions))


@pytest.mark.parametrize(
    ("length", "settings", "n_envs", "n_steps"),
    [
        (100, {}, 8, 256),
        (50, {}, 32, 64),
        (100, {"algorithm": "ppo"}, 8, 256),
        (100, {"algorithm": "a2c"}, 32, 5),
        (100, {"learner": {"n_steps": 48}}, 32, 48),
        (100, {"n_envs": 4}, 4, 512),
    ],
)
def test_copies_follow_from_the_length_of_demonstrated_episodes(
    length: int, settings: dict[str, Any], n_envs: int, n_steps: int, tmp_path: Path
) -> None:
    random, n_episodes = np.random.default_rng(0), 200 // length
    demonstrations = Demonstrations.from_arrays(
        observations=random.uniform(-1, 1, size=(200 + n_episodes, 3)).astype(np.float32),
        actions=random.uniform(-2, 2, size=(200, 1)).astype(np.float32),
        lengths=[length] * n_episodes,
        env_id="Pendulum-v1",
    )
    demonstrations.save(tmp_path / "demonstrations.npz")
    made = {"env": "Pendulum-v1", "demonstrations": tmp_path / "demonstrations.npz", **settings}
    experiment = Experiment(TrainSettings(**made))
    model = experiment.make()
    assert (experiment.settings.n_envs, model.n_envs) == (n_envs, n_envs)
    assert model.n_steps == n_steps  # type: ignore[attr-defined]
