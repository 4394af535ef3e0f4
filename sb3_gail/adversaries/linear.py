"""What the adversaries with linear costs share: a reward that weighs features."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from gymnasium import Space
from torch import Tensor, nn

from sb3_gail.adversaries.base import Adversary
from sb3_gail.adversaries.pieces import in_pieces
from sb3_gail.demonstrations import Demonstrations, check_demonstrations
from sb3_gail.features import Features, StandardisedFeatures
from sb3_gail.transitions import Array, Transitions

if TYPE_CHECKING:
    from typing_extensions import Self

SIGNS = ("positive", "negative", "both")

SIZE = 0.1
"""Of the largest reward: values are at most 10 with a discount of 0.99, which a critic learns in a few rollouts."""


class LinearAdversary(Adversary):
    """Rewards by `0.1 * (w . phi(transition) - bound) / span`, with weights `w` that tell expert from policy.

    They are chosen anew after each rollout, for the policy of that rollout.

    Without the bound such a reward has both signs, and what it says about ending an episode is left to chance. It is
    therefore shifted by the least (or largest) `w . phi`, as in the code of Ho & Ermon (2016), and divided by the span
    from the least to the largest:

    | sign | the bound | rewards | an episode that may end early |
    | --- | --- | --- | --- |
    | `positive` | the least | 0 to 0.1 | every step pays: prolongs episodes (locomotion, CartPole) |
    | `negative` | the largest | -0.1 to 0 | every step costs: ends episodes at once (MountainCar, Acrobot) |
    | `both` | 0 | -0.1 to 0.1 | no shift: for episodes of one length |

    Where steps pay, least and largest are the last update's: those of the first, random actions would pay for
    surviving alone whatever the policy does later. Where they do not, they are those of all updates so far, and of 0,
    so that time stays dear. Undivided, a reward has the size of the features, and one in which the expert hardly varies
    is large when it is standardised: ten a step, a thousand in all, is more than a critic learns in the time that there
    is, and with fifty in all its hidden units still saturate in the end.

    Args:
        features: `phi`: maps transitions `[B]` to `[B, F]`.
        n_features: `F`.
        sign: Of the rewards, see above. Only what the last update has not seen can lie outside.

    Attributes:
        weights: `w`, `[F]`; 0 before the first update.
        least: The smallest `w . phi`, see above.
        largest: The largest.

    Raises:
        ValueError: For another sign.
    """

    def __init__(self, features: Features, n_features: int, *, sign: str = "positive") -> None:
        if sign not in SIGNS:
            raise ValueError(f"sign must be one of {', '.join(map(repr, SIGNS))}, got {sign!r}")
        self.features = features
        self.sign = sign
        self.weights = torch.zeros(n_features)
        self.least = self.largest = 0.0
        self._expert: tuple[Transitions, Tensor] | None = None

    @classmethod
    def from_demonstrations(
        cls, demonstrations: Demonstrations, *, features: Features | None = None, **settings: Any
    ) -> Self:
        """An adversary with features fitted on some demonstrations.

        Args:
            demonstrations: The expert's.
            features: Maps transitions `[B]` to `[B, F]`, each row by itself; by default `StandardisedFeatures`.
            **settings: The constructor's further arguments.

        Raises:
            TypeError: If these are no `Demonstrations`.
            ValueError: If the features are of another shape.
        """
        check_demonstrations(demonstrations)
        chosen = StandardisedFeatures(demonstrations) if features is None else features
        first = torch.as_tensor(chosen(demonstrations.transitions()[:1]))
        if first.dim() != 2 or len(first) != 1:
            raise ValueError(f"features must map 1 transition to an array [1, F], got one of shape {list(first.shape)}")
        return cls(chosen, first.shape[1], **settings)

    @property
    def bound(self) -> float:
        """What is taken from `w . phi`."""
        return {"positive": self.least, "negative": self.largest, "both": 0.0}[self.sign]

    @property
    def span(self) -> float:
        """What rewards are divided by, unless it is 0."""
        return self.largest - self.least

    def reward(self, transitions: Transitions) -> Tensor:
        """The learned reward `[B]` float32."""
        unshifted = self._evaluate(transitions) @ self.weights
        return SIZE * (unshifted - self.bound) / (self.span or 1.0)

    def update(
        self, policy: Transitions, expert: Transitions, *, progress_remaining: float
    ) -> Mapping[str, float | Array]:
        """Chooses the weights by how the mean features of both sides differ.

        Returns:
            `feature_gap`, the Euclidean norm of that difference; `reward_gap`, how much larger the expert's `w . phi`
            is; `reward_bound` and `reward_span`.
        """
        features = self._evaluate(policy)
        gap = self._expert_mean(expert) - features.mean(dim=0, dtype=torch.float64)
        self.weights = self._choose_weights(gap).float()
        self._move_bounds(features @ self.weights)
        return {
            "feature_gap": float(gap.norm()),
            "reward_gap": float(gap @ self.weights.double()),
            "reward_bound": self.bound,
            "reward_span": self.span,
        }

    def check_spaces(self, observation_space: Space[Any], action_space: Space[Any]) -> None:
        """Raises a `ValueError` if the features are `StandardisedFeatures` of demonstrations with other spaces."""
        if isinstance(self.features, StandardisedFeatures):
            self.features.encoder.check_spaces(observation_space, action_space)

    def state_dict(self) -> dict[str, Any]:
        """Sign, weights, bounds, and the features' own state if they are a torch module."""
        state: dict[str, Any] = {
            "sign": self.sign,
            "weights": self.weights.clone(),
            "least": self.least,
            "largest": self.largest,
        }
        if isinstance(self.features, nn.Module):
            state["features"] = self.features.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over a `state_dict` of an adversary with the same features.

        Raises:
            ValueError: If it is another's, or had another sign or number of features; then nothing is taken over.
        """
        expected, got = self.state_dict(), dict(state)
        if expected.keys() != got.keys():
            raise ValueError(f"expected a state with {', '.join(expected)}, got one with {', '.join(map(str, got))}")
        if got["sign"] != self.sign:
            raise ValueError(f"expected the state of an adversary with the sign {self.sign!r}, got {got['sign']!r}")
        if got["weights"].shape != self.weights.shape:
            raise ValueError(f"expected weights of {len(self.weights)} features, got {len(got['weights'])}")
        self.weights, self.least, self.largest = state["weights"].clone(), state["least"], state["largest"]
        if isinstance(self.features, nn.Module):
            self.features.load_state_dict(state["features"])
        self._expert = None

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the demonstrations behind: a copy in a worker process only scores."""
        return {**self.__dict__, "_expert": None}

    @abstractmethod
    def _choose_weights(self, gap: Tensor) -> Tensor:
        """Weights `[F]` for `E_expert[phi] - E_policy[phi]`, `[F]` float64."""

    def _evaluate(self, transitions: Transitions) -> Tensor:
        """Features `[B, F]` float32."""
        features = in_pieces(
            lambda piece: torch.as_tensor(self.features(piece), dtype=torch.float32, device="cpu"), transitions
        )
        expected = (len(transitions), len(self.weights))
        if features.shape != expected:
            raise ValueError(f"features must be of shape {list(expected)}, got {list(features.shape)}")
        return features

    def _expert_mean(self, expert: Transitions) -> Tensor:
        """`E_expert[phi]`, which does not change between iterations."""
        if self._expert is None or self._expert[0] is not expert:
            self._expert = (expert, self._evaluate(expert).mean(dim=0, dtype=torch.float64))
        return self._expert[1]

    def _move_bounds(self, unshifted: Tensor) -> None:
        least, largest = float(unshifted.min()), float(unshifted.max())
        if self.sign != "positive":
            least, largest = min(self.least, least), max(self.largest, largest)
        self.least, self.largest = least, largest
