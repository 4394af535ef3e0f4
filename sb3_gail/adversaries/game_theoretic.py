"""Game-theoretic apprenticeship learning: linear costs in the simplex."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sb3_gail.adversaries.linear import LinearAdversary
from sb3_gail.features import Features

if TYPE_CHECKING:
    from typing_extensions import Self

    from sb3_gail.demonstrations import Demonstrations


class GameTheoreticApprenticeship(LinearAdversary):
    """GTAL (Syed & Schapire 2007): a reward from the simplex over all features and their negatives.

    ```python
    adversary = GameTheoreticApprenticeship.from_demonstrations(demonstrations)
    ```

    By default the adversary's best response to the last rollout, as in the experiments of Ho & Ermon (2016): the one
    feature, signed, in which the two sides differ most. The multiplicative weights of Syed & Schapire remember all
    rollouts: with `beta = 1 / (1 + sqrt(2 ln(2F) / T))`, each feature's share is multiplied by `beta ** G`, where
    `G = (E_policy[phi] - E_expert[phi]) / (4 largest) + 1/2` lies in `[0, 1]`, and the shares are normalised. What they
    promise holds of the mixture of all policies on the way; its last one is what an agent has learned.

    See `LinearAdversary` for the arguments and attributes that are not here, and for signs.

    Args:
        features: `phi`: maps transitions `[B]` to `[B, F]`.
        n_features: `F`.
        sign: Of the rewards.
        multiplicative_iterations: `T`, over how many rollouts multiplicative weights are to be played.
        largest_feature: The features' largest absolute value, `largest` above; `from_demonstrations` measures it there.
            Larger differences of means than it allows count as that large.

    Attributes:
        log_shares: `[2F]`, of the features and of their negatives, not normalised; for multiplicative weights.

    Raises:
        ValueError: If a number is not positive, or for another sign.
    """

    def __init__(
        self,
        features: Features,
        n_features: int,
        *,
        sign: str = "positive",
        multiplicative_iterations: int | None = None,
        largest_feature: float = 1.0,
    ) -> None:
        super().__init__(features, n_features, sign=sign)
        rounds = 1 if multiplicative_iterations is None else multiplicative_iterations
        if not isinstance(rounds, int) or isinstance(rounds, bool) or rounds < 1:
            raise ValueError(f"multiplicative_iterations must be a positive whole number, got {rounds!r}")
        if not 0 < largest_feature < math.inf:
            raise ValueError(f"largest_feature must be a positive number, got {largest_feature!r}")
        self.multiplicative_iterations = multiplicative_iterations
        self.largest_feature = float(largest_feature)
        self.log_shares = torch.zeros(2 * n_features, dtype=torch.float64)

    @classmethod
    def from_demonstrations(
        cls, demonstrations: Demonstrations, *, features: Features | None = None, **settings: Any
    ) -> Self:
        """As `LinearAdversary`'s; measures `largest_feature`, unless it is given."""
        adversary = super().from_demonstrations(demonstrations, features=features, **settings)
        if "largest_feature" not in settings:
            adversary.largest_feature = float(adversary._evaluate(demonstrations.transitions()).abs().max())
        return adversary

    def state_dict(self) -> dict[str, Any]:
        """Also the shares."""
        return {**super().state_dict(), "log_shares": self.log_shares.clone(), "largest_feature": self.largest_feature}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Also takes over the shares."""
        super().load_state_dict(state)
        self.log_shares, self.largest_feature = state["log_shares"].clone(), state["largest_feature"]

    def _choose_weights(self, gap: Tensor) -> Tensor:
        both_signs = torch.cat([gap, -gap])
        if self.multiplicative_iterations is None:
            shares = nn.functional.one_hot(both_signs.argmax(), len(both_signs))
        else:
            step = math.log1p(math.sqrt(2 * math.log(len(both_signs)) / self.multiplicative_iterations))  # -ln beta
            self.log_shares += step * (both_signs / self.largest_feature).clamp(-2, 2) / 4
            shares = self.log_shares.softmax(dim=0)
        return shares[: len(gap)] - shares[len(gap) :]
