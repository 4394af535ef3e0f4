"""Spectral normalisation against the singular value decomposition and torch's own."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sb3_gail.adversaries.spectral_norm import SpectralNorm, normalise_layers


def linear_part(module: nn.Module, inputs: Tensor) -> Tensor:
    """What a module adds to its value at 0."""
    difference: Tensor = module(inputs) - module(torch.zeros_like(inputs))
    return difference


SHAPES: list[tuple[nn.Linear | nn.Conv2d, tuple[int, ...]]] = [
    (nn.Linear(5, 7), (2, 5)),
    (nn.Linear(6, 1), (2, 6)),
    (nn.Conv2d(3, 4, kernel_size=2), (2, 3, 4, 4)),
]


@pytest.mark.parametrize(("layer", "shape"), SHAPES)
def test_the_largest_singular_value_is_one(layer: nn.Linear | nn.Conv2d, shape: tuple[int, ...]) -> None:
    normalised, inputs = SpectralNorm(layer), torch.randn(shape)
    for _ in range(100):
        normalised(inputs)
    largest = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
    torch.testing.assert_close(
        linear_part(normalised, inputs), linear_part(layer, inputs) / largest, rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(normalised(torch.zeros_like(inputs)), layer(torch.zeros_like(inputs)))  # the bias stays


def test_the_gradient_is_that_of_torchs() -> None:
    torch.manual_seed(0)
    layer, inputs = nn.Linear(4, 3), torch.randn(6, 4)
    theirs: Any = torch.nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3), n_power_iterations=100)
    with torch.no_grad():
        theirs.parametrizations.weight.original.copy_(layer.weight)
        theirs.bias.copy_(layer.bias)
    ours = SpectralNorm(layer)
    for _ in range(200):
        ours(inputs)
    weights = torch.randn(6, 3)
    (ours(inputs) * weights).sum().backward()
    (theirs(inputs) * weights).sum().backward()
    torch.testing.assert_close(layer.weight.grad, theirs.parametrizations.weight.original.grad, rtol=1e-3, atol=1e-5)


def test_outside_training_it_is_a_pure_function() -> None:
    module = SpectralNorm(nn.Linear(4, 3)).eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    inputs = torch.randn(2, 4)
    torch.testing.assert_close(module(inputs), module(inputs), rtol=0, atol=0)
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_all_layers_of_a_module_are_normalised_and_it_can_be_pickled_and_loaded() -> None:
    def network() -> nn.Sequential:
        made = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Sequential(nn.Linear(3, 1)))
        normalise_layers(made)
        return made

    module, inputs = network(), torch.randn(5, 4)
    assert sum(isinstance(part, SpectralNorm) for part in module.modules()) == 2
    module(inputs).sum().backward()
    module.eval()
    torch.testing.assert_close(pickle.loads(pickle.dumps(module))(inputs), module(inputs), rtol=0, atol=0)
    other = network().eval()
    other.load_state_dict(module.state_dict())
    torch.testing.assert_close(other(inputs), module(inputs), rtol=0, atol=0)
