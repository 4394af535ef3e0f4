"""The adversaries that have a name on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from sb3_gail import Demonstrations, Discriminator
from sb3_gail.adversaries import AIRL, Adversary, FeatureMatching, GameTheoreticApprenticeship, LinearAdversary
from sb3_gail.named_adversaries import adversary_settings, make_adversary, spelt_out
from sb3_gail.runs import Run, train
from sb3_gail.settings import TrainSettings


def demonstrations(*terminated: bool) -> Demonstrations:
    """Episodes of two steps."""
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
    assert type(make_adversary(name, expert, adversary_settings(name, expert, {}))) is expected


def test_gails_reward_depends_on_the_kind_of_actions() -> None:
    discrete = demonstrations(True)
    continuous = Demonstrations.from_arrays(np.zeros((3, 2)), np.zeros((2, 1)), lengths=[2])
    assert adversary_settings("gail", discrete, {"batch_size": 8}) == {"reward": "airl", "batch_size": 8}
    assert adversary_settings("gail", discrete, {"reward": "gail"}) == {"reward": "gail"}
    assert adversary_settings("gail", continuous, {}) == {}
    assert adversary_settings("airl", discrete, {}) == {}


@pytest.mark.parametrize(
    ("terminated", "sign"),
    [((True, True), "negative"), ((True, True, False), "positive"), ((False, False), "positive")],
)
def test_expert_that_ends_its_episodes_itself_makes_each_step_cost(terminated: tuple[bool, ...], sign: str) -> None:
    expert = demonstrations(*terminated)
    adversary = make_adversary("fem", expert, adversary_settings("fem", expert, {}))
    assert isinstance(adversary, LinearAdversary)
    assert adversary.sign == sign
    assert adversary_settings("gtal", expert, {"sign": "both"}) == {"sign": "both"}


def test_all_settings_are_spelt_out() -> None:
    assert spelt_out("airl", {"gamma": 0.9})["inputs"] == "s"
    assert spelt_out("gtal", {"multiplicative_iterations": 5}) == {"multiplicative_iterations": 5}


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
