"""The adversaries that have a name on the command line."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from small_run import made_up_expert

from sb3_gail import Demonstrations, Discriminator
from sb3_gail.adversaries import AIRL, Adversary, FeatureMatching, GameTheoreticApprenticeship, LinearAdversary
from sb3_gail.runs import Run, train
from sb3_gail.runs.named_adversaries import adversary_settings, choose_causal_entropy, make_adversary, spelt_out
from sb3_gail.runs.settings import TrainSettings
from sb3_gail.transitions import Array

ALERT = {"learning_rate": 1e-3}


def demonstrations(*terminated: bool) -> Demonstrations:
    """Episodes of two steps, with discrete actions."""
    n_episodes = len(terminated)
    return Demonstrations.from_arrays(
        np.random.default_rng(0).normal(size=(3 * n_episodes, 2)),
        np.zeros((2 * n_episodes,), dtype=np.int64),
        lengths=[2] * n_episodes,
        terminated=list(terminated),
        action_space=spaces.Discrete(2),
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [("gail", Discriminator), ("airl", AIRL), ("fem", FeatureMatching), ("gtal", GameTheoreticApprenticeship)],
)
def test_each_name_is_an_adversary(name: str, expected: type[Adversary]) -> None:
    expert = demonstrations(True)
    settings = adversary_settings(name, expert, {}, random_termination_rate=lambda: 0.0)
    assert type(make_adversary(name, expert, settings)) is expected


def continuous(n_steps: int) -> Demonstrations:
    """One episode that terminates: two numbers that vary and a constant one, and an action of one number."""
    generator = np.random.default_rng(0)
    observations = np.insert(generator.normal(size=(n_steps + 1, 2)), 1, 7.0, axis=1)
    return Demonstrations.from_arrays(
        observations,
        generator.uniform(-1, 1, size=(n_steps, 1)),
        lengths=[n_steps],
        terminated=[True],
        action_space=spaces.Box(-1, 1, (1,)),
    )


def test_few_continuous_transitions_have_a_larger_gradient_penalty() -> None:
    def chosen(name: str, expert: Demonstrations, overrides: dict[str, Any]) -> dict[str, Any]:
        return adversary_settings(name, expert, overrides, random_termination_rate=lambda: 0.2)

    larger = {"gradient_penalty": 0.3}
    assert chosen("gail", continuous(14), {}) == larger
    assert chosen("gail", continuous(15), {}) == {}
    assert chosen("gail", continuous(28).subsample(2), {"reward": "airl"}) == {**larger, "reward": "airl"}
    assert chosen("gail", continuous(24), {"inputs": "sas'"}) == {**larger, "inputs": "sas'"}
    assert chosen("gail", continuous(14), {"gradient_penalty": 1.0}) == {"gradient_penalty": 1.0}
    assert chosen("airl", continuous(14), {}) == {}
    of_a_goal = adversary_settings("gail", continuous(14), {}, random_termination_rate=lambda: 0.0)
    assert of_a_goal == {**larger, "reward": "log_d", "absorbing_states": False}


@pytest.mark.parametrize(
    ("actions", "action_space"),
    [(np.zeros((4, 1)), spaces.Box(-1, 1, (1,))), (np.zeros(4, np.int64), spaces.Discrete(2))],
)
def test_images_are_looked_at_more_often(actions: Array, action_space: spaces.Space[Any]) -> None:
    pictured = Demonstrations.from_arrays(
        np.zeros((5, 3, 40, 40), np.uint8),
        actions,
        lengths=[4],
        observation_space=spaces.Box(0, 255, (3, 40, 40), np.uint8),
        action_space=action_space,
    )
    chosen = partial(adversary_settings, "gail", pictured, random_termination_rate=lambda: 1.0)
    assert chosen({}) == {**ALERT, "transitions_per_step": 32}
    assert chosen({"transitions_per_step": 64}) == {**ALERT, "transitions_per_step": 64}
    assert chosen({"reward": "airl"}) == {**ALERT, "transitions_per_step": 32, "reward": "airl"}
    assert adversary_settings("airl", pictured, {}, random_termination_rate=lambda: 1.0) == {}


def test_discrete_actions_paid_by_gail_have_an_alert_discriminator() -> None:
    def chosen(name: str, expert: Demonstrations, overrides: dict[str, Any]) -> dict[str, Any]:
        return adversary_settings(name, expert, overrides, random_termination_rate=lambda: 1.0)

    discrete = demonstrations(True)
    assert chosen("gail", discrete, {}) == ALERT
    assert chosen("gail", discrete, {"batch_size": 8}) == {"batch_size": 8, **ALERT}
    assert chosen("gail", discrete, {"learning_rate": 0.1}) == {"learning_rate": 0.1}
    assert chosen("gail", discrete, {"reward": "gail"}) == {"reward": "gail", **ALERT}
    assert chosen("gail", discrete, {"reward": "airl"}) == {"reward": "airl"}
    assert chosen("airl", discrete, {}) == {}


def test_actions_paid_by_gail_are_kept_varied_by_their_entropy() -> None:
    for expert, weight in ((demonstrations(True), 0.03), (continuous(15), 0.01)):
        assert choose_causal_entropy("gail", expert, {}) == weight
        assert choose_causal_entropy("gail", expert, {"reward": "gail"}) == weight
        assert choose_causal_entropy("gail", expert, {"reward": "log_d"}) == 0.0
        assert [choose_causal_entropy(name, expert, {}) for name in ("airl", "fem", "gtal")] == [0.0] * 3


@pytest.mark.parametrize(("random_rate", "is_accident"), [(0.99, False), (1.0, True)])
def test_end_that_random_actions_meet_ten_times_as_often_is_an_accident(random_rate: float, is_accident: bool) -> None:
    def chosen(expert: Demonstrations, overrides: dict[str, Any]) -> dict[str, Any]:
        return adversary_settings("gail", expert, overrides, random_termination_rate=lambda: random_rate)

    one_in_ten = demonstrations(True, False, False, False, False)
    accident = {"expert_termination_rate": 0.0} if is_accident else {}
    assert chosen(one_in_ten, {}) == {**ALERT, **accident}
    assert chosen(one_in_ten, {"reward": "gail"}) == {"reward": "gail", **ALERT}
    assert chosen(demonstrations(False), {}) == ALERT
    assert chosen(continuous(10), {}) == {"gradient_penalty": 0.3, **accident}


def test_each_step_towards_a_goal_costs() -> None:
    def chosen(name: str, overrides: dict[str, Any]) -> dict[str, Any]:
        return adversary_settings(name, demonstrations(True), overrides, random_termination_rate=lambda: 0.0)

    assert chosen("gail", {}) == {"reward": "log_d", "absorbing_states": False}
    assert chosen("gail", {"reward": "gail"}) == {"reward": "gail", **ALERT}  # with absorbing states, as anywhere else
    assert chosen("gail", {"absorbing_states": True}) == {"reward": "log_d", "absorbing_states": True}
    assert chosen("fem", {}) == {"sign": "negative"}
    assert chosen("gtal", {"sign": "both"}) == {"sign": "both"}
    assert adversary_settings("fem", demonstrations(True), {}, random_termination_rate=lambda: 1.0) == {
        "sign": "positive"
    }
    adversary = make_adversary("fem", demonstrations(True), chosen("fem", {}))
    assert isinstance(adversary, LinearAdversary)
    assert adversary.sign == "negative"


@pytest.mark.parametrize(
    ("name", "overrides", "chosen"),
    [
        ("airl", {}, {}),
        ("gail", {"reward": "gail"}, ALERT),
        ("gail", {"reward": "airl"}, {}),
        ("fem", {"sign": "both"}, {}),
        ("gtal", {"sign": "both"}, {}),
    ],
)
def test_goal_is_not_looked_for_where_nothing_depends_on_it(
    name: str, overrides: dict[str, Any], chosen: dict[str, Any]
) -> None:
    def play() -> float:
        raise AssertionError("played episodes for nothing")

    settings = adversary_settings(name, demonstrations(True), overrides, random_termination_rate=play)
    assert settings == {**overrides, **chosen}


@pytest.mark.parametrize(
    ("env_id", "length", "terminated", "reward"),
    [
        ("MountainCar-v0", 100, [True, True, False], "log_d"),  # random actions never get there
        ("MountainCar-v0", 100, [True, False, False], "gail"),  # so rare an end may as well be a failure
        ("CartPole-v1", 300, [True], "gail"),  # random actions fall sooner
    ],
)
def test_goal_is_where_expert_terminates_more_often_than_random_actions(
    env_id: str, length: int, terminated: list[bool], reward: str, tmp_path: Path
) -> None:
    made_up_expert(env_id, terminated, length=length).save(tmp_path / "expert.npz")
    settings = TrainSettings(
        env=env_id, demonstrations=tmp_path / "expert.npz", total_timesteps=1, run_dir=tmp_path / "run"
    )
    chosen = train(settings).settings
    assert isinstance(chosen, TrainSettings)
    assert chosen.discriminator["reward"] == reward


def test_all_settings_are_spelt_out() -> None:
    assert spelt_out("airl", {"gamma": 0.9})["inputs"] == "s"
    assert spelt_out("fem", {"sign": "both"}) == {"sign": "both"}
    assert spelt_out("gtal", {}) == {"multiplicative_iterations": None}


@pytest.mark.parametrize("name", ["airl", "fem", "gtal"])
def test_run_uses_the_named_adversary(name: str, tmp_path: Path) -> None:
    settings = TrainSettings(
        adversary=name,  # type: ignore[arg-type]
        total_timesteps=256,
        learner={"n_steps": 32},
        n_eval_episodes=1,
        run_dir=tmp_path,
    )
    run = train(settings)
    metric = "gail/reward_gap" if name in ("fem", "gtal") else "gail/loss"
    assert [metric in row for row in run.progress() if "gail/reward_mean" in row] == [True]
    read = Run(tmp_path).settings
    assert isinstance(read, TrainSettings)
    assert read.adversary == name
    assert ("sign" in read.discriminator) == (name != "airl")
