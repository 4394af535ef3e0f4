"""How episodes end: a classifier of the steps with which either side's terminate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sb3_gail.adversaries.discriminator_config import DiscriminatorConfig
from sb3_gail.adversaries.networks import check_shapes
from sb3_gail.adversaries.pieces import in_pieces
from sb3_gail.encoder import TransitionEncoder
from sb3_gail.losses import binary_cross_entropy, gradient_penalty, interpolate
from sb3_gail.schedules import value_at
from sb3_gail.transitions import Transitions

MEMORY = 256
"""The policy's ends that are remembered: a rollout has few, and may have none."""

LARGEST_CORRECTION = 1.0
"""Of the logits, where the expert's ends are known by heart."""


class EndClassifier:
    """Tells the steps with which the expert's episodes terminate from those with which the policy's do.

    How often each side terminates is not all there is to it. If every end leads to one absorbing state, a lander that
    touches down is paid the same for it as one that crashes; and while it does not fly as the expert does, crashing
    pays more than flying on. So let the absorbing state remember the step that led there. Its optimal logit, the log
    ratio of both sides' densities, then has two terms: the log ratio of the rates (`AbsorbingState`), and that of the
    densities of this step among the ends of either side. The second is the optimal logit of this classifier, which sees
    equally many ends of both.

    Args:
        encoder: Encodes transitions, the next observation included.
        network: Maps encoded transitions `[B, D]` to logits `[B]`; both live on one device.
        config: The discriminator's: learning rate, batch size and gradient penalty.
    """

    def __init__(self, encoder: TransitionEncoder, network: nn.Module, config: DiscriminatorConfig) -> None:
        self.encoder = encoder
        self.network = network
        self.optimizer = torch.optim.Adam(network.parameters(), fused=True)
        self._config = config
        self._policy = encoder.mean.new_empty(0, encoder.size)

    def logits(self, ends: Transitions) -> Tensor:
        """`[B]` of transitions that terminate, without a gradient; 0 before any of the policy's was seen."""
        if not len(self._policy):
            return self._policy.new_zeros(len(ends))
        self.network.eval()
        return in_pieces(lambda piece: self.network(self.encoder(piece)), ends) + self._correction()

    def update(
        self, policy: Transitions, expert: Transitions, *, n_steps: int, progress_remaining: float
    ) -> dict[str, float]:
        """Adam steps on ends that are drawn from the expert's, and from the policy's last ones.

        Args:
            policy: The policy's transitions, whether or not they terminate; replayed ones count again, as in its rate.
            expert: All of the expert's.
            n_steps: How many.
            progress_remaining: As SB3's schedules take it.

        Returns:
            `expert_end_logit` and `policy_end_logit`, means over all steps; nothing until both sides have ended.
        """
        expert_ends = self.encoder(terminal(expert))
        if not len(expert_ends):
            return {}
        self._policy = torch.cat([self._policy, self.encoder(terminal(policy))])[-MEMORY:]
        if not len(self._policy):
            return {}
        for group in self.optimizer.param_groups:
            group["lr"] = value_at(self._config.learning_rate, progress_remaining)
        penalty = value_at(self._config.gradient_penalty, progress_remaining)
        self.network.train()
        means = torch.stack([self._step(expert_ends, penalty) for _ in range(n_steps)]).mean(dim=0)
        return dict(zip(("expert_end_logit", "policy_end_logit"), means.tolist(), strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Network, normaliser, optimiser, and the policy's ends that are remembered."""
        return {
            "network": self.network.state_dict(),
            "encoder": self.encoder.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "policy": self._policy,
        }

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Raises a `ValueError` unless `load_state_dict` can take over a state."""
        check_shapes(self.network, state["network"])
        check_shapes(self.encoder, state["encoder"])
        size, remembered = self.encoder.size, state["policy"].shape[1]
        if size != remembered:
            raise ValueError(f"expected remembered ends of {size} numbers, got {remembered}")

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over a `state_dict`."""
        self.network.load_state_dict(state["network"])
        self.encoder.load_state_dict(state["encoder"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._policy = state["policy"].to(self._policy.device)

    @torch.no_grad()
    def _correction(self) -> Tensor:
        """What is to be added to logits, a scalar.

        A ratio of densities is 1 on average over the policy's ends. A network that knows the expert's few ends by heart
        is too low for all of the policy's, even if they are as good. What it lacks is added; but not all of it, since
        where the policy has no such ends at all, it is low with good reason.
        """
        log_mean: Tensor = self.network(self._policy).logsumexp(dim=0) - math.log(len(self._policy))
        return -log_mean.clamp(-LARGEST_CORRECTION, LARGEST_CORRECTION)

    def _step(self, expert_ends: Tensor, penalty: float) -> Tensor:
        """One Adam step: both sides' mean logits, the expert's first, `[2]`."""
        expert, policy = (_draw(rows, self._config.batch_size) for rows in (expert_ends, self._policy))
        policy_logits, expert_logits = self.network(torch.cat([policy, expert])).chunk(2)
        loss = binary_cross_entropy(policy_logits, expert_logits)
        if penalty:
            points = interpolate(policy, expert)
            loss = loss + penalty * gradient_penalty(self.network, points, target=self._config.gradient_norm)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return torch.stack([expert_logits.mean(), policy_logits.mean()]).detach()


def terminal(transitions: Transitions) -> Transitions:
    """Those that terminate an episode."""
    return transitions[np.flatnonzero(np.asarray(transitions.terminated))]


def _draw(rows: Tensor, n: int) -> Tensor:
    """`n` of some rows, with replacement."""
    return rows[torch.randint(len(rows), (n,), device=rows.device)]
