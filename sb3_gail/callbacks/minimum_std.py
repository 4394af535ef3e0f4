"""A bound on how sure of its actions a policy may become."""

from __future__ import annotations

import math
from typing import Any

import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.distributions import DiagGaussianDistribution


class MinimumStdCallback(BaseCallback):
    """Keeps the standard deviation of Gaussian actions above a share of the first one.

    ```python
    model = PPO("MlpPolicy", env, policy_kwargs={"log_std_init": -0.5})
    model.learn(300_000, callback=[GAILCallback(discriminator, demonstrations), MinimumStdCallback()])
    ```

    An expert who does not explore is told from a policy that does by the noise alone, so the adversary drives the noise
    out, and the policy stops to learn: where every action that it still tries fails, none is better than the others.
    It shows as a policy that is perfect from some starts and fails at once from the rest. Between updates the deviation
    is lifted back to the bound, each action's by itself.

    Args:
        share: Of the deviation that the policy was made with (`exp(log_std_init)`).
        verbose: As SB3's.

    Raises:
        ValueError: If `share` does not lie in (0, 1].
        TypeError: At the start of training, if the policy's actions are no plain Gaussian (discrete, or gSDE).
    """

    def __init__(self, share: float = 0.5, *, verbose: int = 0) -> None:
        super().__init__(verbose)
        if not 0 < share <= 1:
            raise ValueError(f"share must lie in (0, 1], got {share!r}")
        self.share = share

    def _init_callback(self) -> None:
        distribution = getattr(self.model.policy, "action_dist", None)
        if not isinstance(distribution, DiagGaussianDistribution):
            raise TypeError(
                f"MinimumStdCallback needs a policy with Gaussian actions (an on-policy learner, Box actions, no "
                f"gSDE), got {type(self.model).__name__} with {type(distribution).__name__}"
            )

    def _on_rollout_start(self) -> None:
        policy: Any = self.model.policy
        with torch.no_grad():
            policy.log_std.clamp_(min=policy.log_std_init + math.log(self.share))

    def _on_step(self) -> bool:
        return True
