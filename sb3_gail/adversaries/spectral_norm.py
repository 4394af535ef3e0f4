"""Spectral normalisation that survives pickling, as torch's own does not: worker processes get a pickled adversary."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

_FIRST_ITERATIONS = 15


class SpectralNorm(nn.Module):
    """Applies a layer with its weight divided by the weight's largest singular value (Miyato et al. 2018, Algorithm 1).

    The singular vectors are tracked by one power iteration for each forward pass in training mode; a convolution's
    weight counts as a matrix `[channels out, the rest]`.

    Args:
        layer: Linear or convolutional.
    """

    left: Tensor
    right: Tensor

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.layer = layer
        weight = layer.weight.detach().flatten(1)
        self.register_buffer("left", nn.functional.normalize(torch.randn(len(weight)), dim=0))
        self.register_buffer("right", nn.functional.normalize(weight.T @ self.left, dim=0))
        for _ in range(_FIRST_ITERATIONS):
            self._iterate(weight)

    def forward(self, inputs: Tensor) -> Tensor:
        """What the layer makes of its inputs."""
        weight = self.layer.weight
        if self.training:
            self._iterate(weight.detach().flatten(1))
        largest = self.left @ weight.flatten(1) @ self.right
        outputs: Tensor = functional_call(self.layer, {"weight": weight / largest}, (inputs,))
        return outputs

    def _iterate(self, weight: Tensor) -> None:
        # Not in place: autograd still holds those of the pass before.
        self.left = nn.functional.normalize(weight @ self.right, dim=0)
        self.right = nn.functional.normalize(weight.T @ self.left, dim=0)


def normalise_layers(module: nn.Module) -> None:
    """Puts `SpectralNorm` around all linear and convolutional layers in a module."""
    for name, child in module.named_children():
        if isinstance(child, (nn.Linear, nn.Conv2d)):
            setattr(module, name, SpectralNorm(child))
        else:
            normalise_layers(child)
