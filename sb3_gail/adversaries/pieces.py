"""Many transitions, some thousands at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sb3_gail.transitions import Transitions

_ROWS_AT_ONCE = 4096


def in_pieces(function: Callable[[Transitions], Tensor], transitions: Transitions) -> Tensor:
    """What a function, row by row, makes of transitions `[B]`: `[B, ...]`, without a gradient."""
    with torch.no_grad():
        return torch.cat(
            [
                function(transitions[start : start + _ROWS_AT_ONCE])
                for start in range(0, len(transitions), _ROWS_AT_ONCE)
            ]
        )
