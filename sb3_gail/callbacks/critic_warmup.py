"""A first while in which critic and adversary learn and the policy does not."""

from __future__ import annotations

import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from torch import Tensor, nn

from sb3_gail.likelihood import actor_parameters


class CriticWarmupCallback(BaseCallback):
    """Takes back the policy's part of SB3's first updates, so that a cloned policy survives its untrained critic.

    ```python
    pretrain_bc(model, demonstrations)
    model.learn(300_000, callback=[GAILCallback(discriminator, demonstrations), CriticWarmupCallback(5)])
    ```

    GAIL's critic values the learned reward under the policy, so it can be fitted to nothing but the policy's own
    rollouts, and only while the adversary learns, too. The first rollouts are collected, rewarded and trained on as
    ever; then the actor's parameters are put back and what the optimiser remembers of them is forgotten. A feature
    extractor that the critic shares belongs to the actor. Works with A2C, PPO, TRPO and MaskablePPO.

    Args:
        n_rollouts: Rollouts of each `learn()` whose update the policy does not follow.
        verbose: As SB3's.

    Raises:
        ValueError: If `n_rollouts` is not positive.
        TypeError: At the start of training, for an off-policy learner or a recurrent policy.
    """

    def __init__(self, n_rollouts: int, *, verbose: int = 0) -> None:
        super().__init__(verbose)
        if not isinstance(n_rollouts, int) or n_rollouts < 1:
            raise ValueError(f"n_rollouts must be a positive whole number, got {n_rollouts!r}")
        self.n_rollouts = n_rollouts
        self._left = 0
        self._frozen: list[tuple[nn.Parameter, Tensor]] = []

    def _init_callback(self) -> None:
        if not isinstance(self.model, OnPolicyAlgorithm):
            raise TypeError(
                f"CriticWarmupCallback needs an on-policy learner (A2C, PPO, TRPO, MaskablePPO), got "
                f"{type(self.model).__name__}"
            )
        parameters = actor_parameters(self.model.policy)
        self._frozen = [(parameter, parameter.detach().clone()) for parameter in parameters]
        self._left = self.n_rollouts

    def _on_rollout_end(self) -> None:
        self._left -= 1

    def _on_rollout_start(self) -> None:
        self._put_back()

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self._put_back()

    def _put_back(self) -> None:
        """Undoes the update that just ended; the one after the last of the rollouts ends it all."""
        optimizer = self.model.policy.optimizer
        for parameter, value in self._frozen:
            with torch.no_grad():
                parameter.copy_(value)
            optimizer.state.pop(parameter, None)
        if self._left <= 0:
            self._frozen = []
