"""What speaks against demonstrations being of the task that is trained on."""

from __future__ import annotations

import re

import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from sb3_gail import Demonstrations
from sb3_gail.data import shipped
from sb3_gail.task_evidence import evidence_of_another_task

LIMIT = 20


def demonstrations(
    lengths: list[int], *, terminated: list[bool] | None = None, env_id: str | None = None
) -> Demonstrations:
    steps = sum(lengths)
    return Demonstrations.from_arrays(
        np.zeros((steps + len(lengths), 2)), np.zeros((steps, 1)), lengths=lengths, terminated=terminated, env_id=env_id
    )


def spec(env_id: str = "Task-v1", limit: int | None = LIMIT) -> EnvSpec:
    return EnvSpec(env_id, max_episode_steps=limit)


@pytest.mark.parametrize(
    "env_id", [None, "Task-v1", "Task-v0", "Task", "mine/Task-v2", "package.module:mine/Task-v1", "module:Task-v1"]
)
def test_another_version_or_namespace_is_the_same_task(env_id: str | None) -> None:
    assert list(evidence_of_another_task(demonstrations([LIMIT], env_id=env_id), spec())) == []


def test_another_name_is_another_task() -> None:
    (evidence,) = evidence_of_another_task(demonstrations([LIMIT], env_id="Other-v1"), spec())
    assert evidence.startswith("the demonstrations name the environment Other-v1, training is on Task-v1: use")


@pytest.mark.parametrize(
    ("lengths", "terminated", "evidence"),
    [
        ([LIMIT, LIMIT + 1], None, "a demonstrated episode has 21 steps, more than the environment's time limit of 20"),
        (
            [7, 12],
            None,
            r"no demonstrated episode terminates, yet all are shorter than .* of 20 steps \(7 to 12 steps\)",
        ),
        (
            [LIMIT, 12, LIMIT],
            [True, False, True],
            "2 of 2 demonstrated episodes that terminate do so at the environment's time limit of 20 steps",
        ),
        ([LIMIT, 12, LIMIT], [True, True, True], "2 of 3 demonstrated episodes that terminate do so at"),
    ],
)
def test_ends_that_the_time_limit_contradicts(lengths: list[int], terminated: list[bool] | None, evidence: str) -> None:
    (found,) = evidence_of_another_task(demonstrations(lengths, terminated=terminated), spec())
    assert re.search(evidence, found)
    without_limit = spec(limit=None)
    assert list(evidence_of_another_task(demonstrations(lengths, terminated=terminated), without_limit)) == []


@pytest.mark.parametrize(
    ("lengths", "terminated"),
    [([LIMIT, 12], None), ([7, 12], [True, False]), ([LIMIT, 12], [True, True]), ([LIMIT, LIMIT], [False, False])],
)
def test_ends_that_may_be_so(lengths: list[int], terminated: list[bool] | None) -> None:
    assert list(evidence_of_another_task(demonstrations(lengths, terminated=terminated), spec())) == []


@pytest.mark.parametrize(("env_id", "limit"), [("CartPole-v1", 500), ("Hopper-v5", 1000)])
def test_what_ships_is_of_its_own_task(env_id: str, limit: int) -> None:
    assert list(evidence_of_another_task(Demonstrations.load(shipped(env_id)), spec(env_id, limit))) == []
