"""How episodes end: a classifier of the steps with which either side's terminate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sb3_gail.adversaries.pieces import in_pieces
from sb3_gail.encoder import TransitionEncoder
from sb3_gail.losses import binary_cross_entropy, gradient_penalty, interpolate
from sb3_gail.transitions import Transitions

MEMORY = 256
"""The policy's ends that are remembered: a rollout has few, and may have none."""


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
    """

    def __init__(self, encoder: TransitionEncoder, network: nn.Module) -> None:
        self.encoder = encoder
        self.network = network
        self.optimizer = torch.optim.Adam(network.parameters(), fused=True)
        self._policy = encoder.mean.new_empty(0, encoder.size)

    def logits(self, ends: Transitions) -> Tensor:
        """`[B]` of transitions that terminate, without a gradient."""
        self.network.eval()
        return in_pieces(lambda piece: self.network(self.encoder(piece)), ends)

    def update(
        self,
        policy: Transitions,
        expert: Transitions,
        *,
        n_steps: int,
        batch_size: int,
        learning_rate: float,
        penalty: float,
        penalty_norm: float,
    ) -> dict[str, float]:
        """Adam steps on ends that are drawn from the expert's, and from the policy's last ones.

        Args:
            policy: The policy's new transitions, whether or not they terminate.
            expert: All of the expert's.
            n_steps: How many.
            batch_size: Ends of either side in each.
            learning_rate: Adam's.
            penalty: Weight of the penalty on the logit's gradient norm.
            penalty_norm: The gradient norm that is not penalised.

        Returns:
            `expert_end_logit` and `policy_end_logit`, means over all steps; nothing until both sides have ended.
        """
        self._policy = torch.cat([self._policy, self.encoder(terminal(policy))])[-MEMORY:]
        expert_ends = self.encoder(terminal(expert))
        if not len(self._policy) or not len(expert_ends):
            return {}
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.network.train()
        means = []
        for _ in range(n_steps):
            ours, theirs = _draw(self._policy, batch_size), _draw(expert_ends, batch_size)
            policy_logits, expert_logits = self.network(torch.cat([ours, theirs])).chunk(2)
            loss = binary_cross_entropy(policy_logits, expert_logits)
            if penalty:
                loss = loss + penalty * gradient_penalty(self.network, interpolate(ours, theirs), target=penalty_norm)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            means.append(torch.stack([expert_logits.mean(), policy_logits.mean()]).detach())
        expert_mean, policy_mean = torch.stack(means).mean(dim=0).tolist()
        return {"expert_end_logit": expert_mean, "policy_end_logit": policy_mean}

    def state_dict(self) -> dict[str, Any]:
        """Network, normaliser, optimiser, and the policy's ends that are remembered."""
        return {
            "network": self.network.state_dict(),
            "encoder": self.encoder.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "policy": self._policy,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over a `state_dict`."""
        self.network.load_state_dict(state["network"])
        self.encoder.load_state_dict(state["encoder"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._policy = state["policy"].to(self._policy.device)


def terminal(transitions: Transitions) -> Transitions:
    """Those that terminate an episode."""
    return transitions[np.flatnonzero(np.asarray(transitions.terminated))]


def _draw(rows: Tensor, n: int) -> Tensor:
    """`n` of some rows, with replacement."""
    return rows[torch.randint(len(rows), (n,), device=rows.device)]
