"""Losses and regularisers against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from sb3_gail.losses import (
    bernoulli_entropy,
    binary_cross_entropy,
    gradient_penalty,
    interpolate,
    loss_function,
    wasserstein,
    weight_decay,
)


def test_cross_entropy_is_log_2_at_chance() -> None:
    assert binary_cross_entropy(torch.zeros(3), torch.zeros(5)).item() == pytest.approx(math.log(2))


def test_cross_entropy_worked_out_by_hand() -> None:
    # D is 1/2 and 3/4 on the policy's side, 4/5 on the expert's.
    policy, expert = torch.tensor([0.0, math.log(3)]), torch.tensor([math.log(4)])
    expected = ((math.log(2) + math.log(4)) / 2 + math.log(5 / 4)) / 2
    assert binary_cross_entropy(policy, expert).item() == pytest.approx(expected)


def test_both_sides_weigh_the_same_however_many_there_are() -> None:
    policy, expert = torch.tensor([0.3, -1.0]), torch.tensor([0.7])
    many = binary_cross_entropy(policy, expert.repeat(1000))
    torch.testing.assert_close(many, binary_cross_entropy(policy, expert))


def test_smoothed_labels_are_a_cross_entropy_with_those_labels() -> None:
    policy, expert = torch.randn(50, dtype=torch.float64), torch.randn(40, dtype=torch.float64)
    d_policy, d_expert = torch.sigmoid(policy), torch.sigmoid(expert)
    on_policy = -(0.1 * torch.log(d_policy) + 0.9 * torch.log(1 - d_policy)).mean()
    on_expert = -(0.9 * torch.log(d_expert) + 0.1 * torch.log(1 - d_expert)).mean()
    torch.testing.assert_close(binary_cross_entropy(policy, expert, label_smoothing=0.1), (on_policy + on_expert) / 2)


def test_the_gradient_of_the_cross_entropy_worked_out_by_hand() -> None:
    policy, expert = torch.tensor([math.log(3)], requires_grad=True), torch.tensor([math.log(4)], requires_grad=True)
    binary_cross_entropy(policy, expert).backward()  # type: ignore[no-untyped-call]
    assert policy.grad is not None
    assert expert.grad is not None
    assert policy.grad.item() == pytest.approx(3 / 4 / 2)  # D / 2
    assert expert.grad.item() == pytest.approx(-1 / 5 / 2)  # -(1 - D) / 2


def test_cross_entropy_of_sure_mistakes_is_finite() -> None:
    loss = binary_cross_entropy(torch.tensor([1e4]), torch.tensor([-1e4]))
    assert loss.item() == pytest.approx(1e4)


def test_entropy_worked_out_by_hand() -> None:
    entropy = bernoulli_entropy(torch.tensor([0.0, math.log(3), -math.log(3), 50.0]))
    quarter = math.log(4) / 4 + 3 / 4 * math.log(4 / 3)
    np.testing.assert_allclose(entropy, [math.log(2), quarter, quarter, 0.0], rtol=1e-5, atol=1e-6)


def test_interpolated_points_lie_on_their_segments() -> None:
    policy, expert = torch.zeros(2000, 3), torch.tensor([1.0, 10.0, -5.0]).repeat(2000, 1)
    points = interpolate(policy, expert)
    weight = points[:, 0]
    torch.testing.assert_close(points, weight[:, None] * expert)
    assert weight.min() >= 0
    assert weight.max() <= 1
    assert weight.mean().item() == pytest.approx(1 / 2, abs=0.05)
    assert weight.var().item() == pytest.approx(1 / 12, abs=0.01)


def test_the_penalty_of_a_linear_function() -> None:
    weights = torch.tensor([3.0, 4.0])

    def linear(inputs: Tensor) -> Tensor:
        return inputs @ weights + 7.0

    inputs = torch.randn(11, 2)
    assert gradient_penalty(linear, inputs, target=1.0).item() == pytest.approx((5 - 1) ** 2)
    assert gradient_penalty(linear, inputs, target=0.0).item() == pytest.approx(25)
    assert gradient_penalty(linear, inputs, target=5.0).item() == pytest.approx(0, abs=1e-10)


def test_the_penalty_of_a_sum_of_squares() -> None:
    # The gradient of |x|^2 is 2x: norms 2, 0 and 10.
    inputs = torch.tensor([[1.0, 0.0], [0.0, 0.0], [3.0, 4.0]])

    def squares(points: Tensor) -> Tensor:
        return points.square().sum(dim=1)

    assert gradient_penalty(squares, inputs, target=1.0).item() == pytest.approx((1 + 1 + 81) / 3)


def test_the_penalty_trains_the_function() -> None:
    # d/dw (|w| - 1)^2 = 2 (1 - 1 / |w|) w
    weights = torch.tensor([3.0, 4.0], requires_grad=True)
    gradient_penalty(lambda inputs: inputs @ weights, torch.randn(5, 2), target=1.0).backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(weights.grad, 2 * (1 - 1 / 5) * weights.detach())


def test_the_penalty_leaves_its_inputs_alone() -> None:
    inputs = torch.randn(4, 2)
    gradient_penalty(lambda points: points.sum(dim=1), inputs, target=0.0)
    assert not inputs.requires_grad
    assert inputs.grad is None


def test_weight_decay_worked_out_by_hand() -> None:
    decay = weight_decay([torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [4.0]])])
    assert decay.item() == pytest.approx((1 + 4 + 9 + 16) / 2)


def test_wasserstein_worked_out_by_hand() -> None:
    policy, expert = torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([4.0], requires_grad=True)
    loss = wasserstein(policy, expert)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == -2.5
    assert policy.grad is not None
    assert expert.grad is not None
    np.testing.assert_array_equal(policy.grad, [0.5, 0.5])
    np.testing.assert_array_equal(expert.grad, [-1.0])


def test_losses_by_name() -> None:
    assert loss_function("bce") is binary_cross_entropy
    assert loss_function("wasserstein") is wasserstein
    assert loss_function(wasserstein) is wasserstein
    with pytest.raises(ValueError, match=r"loss must be one of bce, wasserstein or a function .*, got 'hinge'"):
        loss_function("hinge")
    with pytest.raises(TypeError, match=r"loss must be a name or a function .*, got NoneType"):
        loss_function(None)  # type: ignore[arg-type]
