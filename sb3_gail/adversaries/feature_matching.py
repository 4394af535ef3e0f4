"""Feature expectation matching: linear costs in the L2 ball."""

from __future__ import annotations

from torch import Tensor

from sb3_gail.adversaries.linear import LinearAdversary


class FeatureMatching(LinearAdversary):
    """FEM (Ho, Gupta & Ermon 2016, after Abbeel & Ng 2004): weights of unit length that set the sides furthest apart.

    ```python
    adversary = FeatureMatching.from_demonstrations(demonstrations)
    ```

    `w = (E_expert[phi] - E_policy[phi]) / |E_expert[phi] - E_policy[phi]|`, so that `reward_gap` equals `feature_gap`.
    The expectations are means over transitions. See `LinearAdversary` for arguments and signs.
    """

    def _choose_weights(self, gap: Tensor) -> Tensor:
        return gap / gap.norm() if gap.any() else gap
