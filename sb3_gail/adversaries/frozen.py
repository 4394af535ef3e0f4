"""A learned reward that no longer learns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gymnasium import Space
from torch import Tensor, nn

from sb3_gail.adversaries.base import Adversary
from sb3_gail.adversaries.networks import check_rows_in_and_out
from sb3_gail.adversaries.pieces import in_pieces
from sb3_gail.encoder import TransitionEncoder
from sb3_gail.transitions import Array, Transitions


class FrozenReward(Adversary):
    """Rewards by a trained network's output; updates leave it as it is.

    Args:
        encoder: Encodes transitions.
        network: Maps encoded transitions `[B, D]`, on the encoder's device, to rewards `[B]`.

    Raises:
        ValueError: If the network makes something else than a number of each transition.
    """

    def __init__(self, encoder: TransitionEncoder, network: nn.Module) -> None:
        check_rows_in_and_out(network, encoder)
        self.encoder = encoder
        self.network = network.eval().requires_grad_(False)

    def reward(self, transitions: Transitions) -> Tensor:
        """The reward `[B]` float32."""
        return in_pieces(lambda piece: self.network(self.encoder(piece)), transitions).float()

    def update(
        self, policy: Transitions, expert: Transitions, *, progress_remaining: float
    ) -> Mapping[str, float | Array]:
        """Nothing: there are no metrics."""
        return {}

    def check_spaces(self, observation_space: Space[Any], action_space: Space[Any]) -> None:
        """Raises a `ValueError` if the reward was learned on other spaces."""
        self.encoder.check_spaces(observation_space, action_space)

    def state_dict(self) -> dict[str, Any]:
        """Network and normaliser."""
        return {"network": self.network.state_dict(), "encoder": self.encoder.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over a `state_dict` of a reward with the same shapes.

        Raises:
            RuntimeError: If the shapes differ (torch's message names them).
        """
        self.network.load_state_dict(state["network"])
        self.encoder.load_state_dict(state["encoder"])
