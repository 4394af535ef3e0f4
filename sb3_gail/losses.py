"""Adversarial losses and their regularisers, each a pure function that a discriminator adds up."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

AdversarialLoss = Callable[[Tensor, Tensor], Tensor]


def binary_cross_entropy(policy_logits: Tensor, expert_logits: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of telling expert from policy, both sides with equal weight.

    `-(E_policy[log(1 - D)] + E_expert[log D]) / 2` (Ho & Ermon 2016, equation 17): `log 2` at chance. Its optimum is
    `logit = log(expert density / policy density)`.

    Args:
        policy_logits: `[B]`.
        expert_logits: `[E]`.
        label_smoothing: The labels are this far from 0 and 1 (Salimans et al. 2016, section 3.4, on both sides).

    Returns:
        A scalar.
    """
    policy_loss = F.softplus(policy_logits) - label_smoothing * policy_logits
    expert_loss = F.softplus(-expert_logits) + label_smoothing * expert_logits
    return (policy_loss.mean() + expert_loss.mean()) / 2


def wasserstein(policy_logits: Tensor, expert_logits: Tensor) -> Tensor:
    """The critic's loss of Wasserstein GAIL, `E_policy[logit] - E_expert[logit]` (Arjovsky et al. 2017, equation 3).

    Of 1-Lipschitz logits the least is minus the Wasserstein distance; without a `gradient_penalty` (of weight 10 in
    Gulrajani et al. 2017) or spectral normalisation it falls without end. It leaves the logit's constant open, and with
    it what a logit paid as reward says about ending an episode.

    Args:
        policy_logits: `[B]`.
        expert_logits: `[E]`.

    Returns:
        A scalar.
    """
    return policy_logits.mean() - expert_logits.mean()


LOSSES: dict[str, AdversarialLoss] = {"bce": binary_cross_entropy, "wasserstein": wasserstein}


def loss_function(loss: str | AdversarialLoss) -> AdversarialLoss:
    """The loss of a name, or the callable itself.

    Raises:
        ValueError: If no loss has this name.
        TypeError: If it is neither a name nor a callable.
    """
    if callable(loss):
        return loss
    wanted = "a function of policy logits [B] and expert logits [E]"
    if not isinstance(loss, str):
        raise TypeError(f"loss must be a name or {wanted}, got {type(loss).__name__}")
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)} or {wanted}, got {loss!r}")
    return LOSSES[loss]


def bernoulli_entropy(logits: Tensor) -> Tensor:
    """Entropy of `D`, in nats, `[B] -> [B]`; the authors' code adds 0.001 of its mean to the objective."""
    return F.softplus(logits) - torch.sigmoid(logits) * logits


def interpolate(policy: Tensor, expert: Tensor) -> Tensor:
    """Points drawn uniformly from the segments between paired rows, `[B, D], [B, D] -> [B, D]`."""
    weight = torch.rand(len(policy), 1, device=policy.device)
    return policy + weight * (expert - policy)


def gradient_penalty(network: Callable[[Tensor], Tensor], inputs: Tensor, *, target: float) -> Tensor:
    """Mean squared distance of the logit's gradient norm from a target.

    With 1 this is the penalty of Gulrajani et al. 2017 (equation 3), with 0 that of Mescheder et al. 2018 (section
    4.1), on whatever points are given.

    Args:
        network: `[B, D] -> [B]` logits, each of its own row alone.
        inputs: `[B, D]`, commonly `interpolate(policy, expert)`.
        target: The gradient norm without penalty.

    Returns:
        A scalar.
    """
    inputs = inputs.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(network(inputs).sum(), inputs, create_graph=True)
    norms: Tensor = gradient.norm(dim=1)
    return (norms - target).square().mean()


def weight_decay(parameters: Iterable[Tensor]) -> Tensor:
    """Half the sum of squared weights, a scalar; biases are to be left out by the caller."""
    return torch.stack([parameter.square().sum() for parameter in parameters]).sum() / 2
