"""Features of transitions, for adversaries that weigh features."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from gymnasium import spaces
from torch import Tensor, nn

from sb3_gail.encoder import TransitionEncoder
from sb3_gail.transitions import Array, Transitions

if TYPE_CHECKING:
    from sb3_gail.demonstrations import Demonstrations

Features = Callable[[Transitions], Array | Tensor]
"""Maps transitions `[B]` to features `[B, F]`, each row by itself."""

_SQUARED_SCALE = 0.01


class StandardisedFeatures(nn.Module):
    """The features of the authors' experiments with linear costs (Ho & Ermon 2016), fitted on demonstrations and fixed.

    With observations `s` and actions `a` standardised: `s`, `a`, `(0.01 s)^2`, `(0.01 a)^2` and the constant 1. With
    one of `n` discrete actions: `s` and `(0.01 s)^2` in the action's own block of columns, of which there are `n`, and
    the constant 1. Standardised numbers are clipped at 10, and what is constant in the demonstrations is 0.

    Args:
        demonstrations: What mean and deviation are fitted on.

    Raises:
        ValueError: For images, of whose pixels such features say nothing.
    """

    def __init__(self, demonstrations: Demonstrations) -> None:
        super().__init__()
        self.encoder = TransitionEncoder(demonstrations, inputs="sa")
        if self.encoder.has_images:
            raise ValueError("expected observations without images, got some; give a function of your own as features")
        self._is_discrete = isinstance(self.encoder.action_leaves[0].space, spaces.Discrete)

    def forward(self, transitions: Transitions) -> Tensor:
        """`[B, F]` float32."""
        encoded = self.encoder(transitions)
        if self._is_discrete:
            parts = self.encoder.parts
            observations, chosen = encoded[:, parts["observations"]], encoded[:, parts["actions"]]
            features = (chosen[:, :, None] * _with_squares(observations)[:, None, :]).flatten(1)
        else:
            features = _with_squares(encoded)
        return torch.cat([features, torch.ones_like(features[:, :1])], dim=1)


def _with_squares(numbers: Tensor) -> Tensor:
    return torch.cat([numbers, (_SQUARED_SCALE * numbers).square()], dim=1)
