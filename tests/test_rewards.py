"""Rewards against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from sb3_gail.rewards import (
    REWARDS,
    RewardFunction,
    airl_reward,
    fairl_reward,
    gail_reward,
    grows_with_the_logit,
    log_d_reward,
    reward_function,
)

# D = sigmoid(logit) is 1/2, 3/4 and 1/5.
LOGITS = torch.tensor([0.0, math.log(3.0), -math.log(4.0)])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gail", [math.log(2), math.log(4), math.log(5 / 4)]),
        ("log_d", [-math.log(2), math.log(3 / 4), -math.log(5)]),
        ("airl", [0.0, math.log(3), -math.log(4)]),
        ("fairl", [0.0, -3 * math.log(3), math.log(4) / 4]),
    ],
)
def test_values_worked_out_by_hand(name: str, expected: list[float]) -> None:
    rewards = reward_function(name)(LOGITS)
    np.testing.assert_allclose(rewards, expected, rtol=1e-6, atol=1e-7)
    assert rewards.dtype == torch.float32


def test_they_are_the_functions_of_d_that_they_are_named_for() -> None:
    logits = torch.linspace(-6, 6, 25, dtype=torch.float64)
    d = torch.sigmoid(logits)
    torch.testing.assert_close(gail_reward(logits), -torch.log(1 - d))
    torch.testing.assert_close(log_d_reward(logits), torch.log(d))
    torch.testing.assert_close(airl_reward(logits), torch.log(d) - torch.log(1 - d))
    ratio = d / (1 - d)
    torch.testing.assert_close(fairl_reward(logits), -ratio * torch.log(ratio))


def test_the_table_of_signs_is_true() -> None:
    logits = torch.linspace(-10, 10, 41)
    assert (gail_reward(logits) > 0).all()
    assert (log_d_reward(logits) < 0).all()
    torch.testing.assert_close(airl_reward(logits), -airl_reward(-logits))
    assert fairl_reward(torch.linspace(-5, 0, 5001)).max().item() == pytest.approx(1 / math.e, rel=1e-6)
    assert (fairl_reward(logits[logits > 0]) < 0).all()


@pytest.mark.parametrize(
    ("reward", "expected"),
    [
        *((function, name != "fairl") for name, function in REWARDS.items()),
        (lambda logits: logits.clamp(-2, 2), True),
        (torch.neg, False),
    ],
)
def test_which_rewards_grow_with_the_logit(reward: RewardFunction, expected: bool) -> None:
    assert grows_with_the_logit(reward) is expected


@pytest.mark.parametrize("name", REWARDS)
def test_large_logits_stay_finite(name: str) -> None:
    logits = torch.tensor([-1e4, -100.0, 100.0, 1e4])
    assert torch.isfinite(reward_function(name)(logits)).all()
    assert gail_reward(torch.tensor(1e4)).item() == 1e4
    assert log_d_reward(torch.tensor(-1e4)).item() == -1e4


def test_rewards_are_new_tensors() -> None:
    logits = torch.zeros(3)
    airl_reward(logits).add_(1)
    assert not logits.any()


def test_a_function_is_taken_as_it_is() -> None:
    def clipped(logits: Tensor) -> Tensor:
        return logits.clamp(-1, 1)

    assert reward_function(clipped) is clipped


def test_what_is_no_reward_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one of gail, log_d, airl, fairl or a function .*, got 'wail'"):
        reward_function("wail")
    with pytest.raises(TypeError, match=r"a name or a function of logits \[B\] -> \[B\], got int"):
        reward_function(3)  # type: ignore[arg-type]
