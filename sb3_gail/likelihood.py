"""How likely a policy finds the expert's actions, and which of its parameters decide that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from gymnasium.vector.utils import create_empty_array
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor, nn

from sb3_gail.raw_observations import policy_observations
from sb3_gail.transitions import Observations, RowsLike, Transitions, map_observations

SATURATION = 1e-2
"""How far inside [-1, 1] a squashed policy's likelihood is taken, for at the bounds it is infinite.

Many executed actions lie on the bounds exactly, and nearer to them the likelihood cares for little else: SAC's actor,
cloned from Hopper-v5's 25 episodes for 60 epochs, returned 84 with 1e-6, 1944 with 1e-3 and 1950 with 1e-2; with
sampled actions 235, 547 and 1066.
"""

_ROWS_AT_ONCE = 4096


def log_prob(model: BaseAlgorithm, transitions: Transitions) -> npt.NDArray[np.float32]:
    """Log-likelihood of executed actions under a model's current policy, on its own scale of actions.

    It equals the one that SB3 stores in a rollout wherever the action was executed as it was sampled. A policy that
    clips its actions has a density at the clipped ones too; a policy that squashes them is asked just inside the
    bounds. Action masks are not applied.

    Args:
        model: An SB3 or contrib model with a stochastic policy.
        transitions: `[B]`, raw.

    Returns:
        `[B]`, without a gradient.

    Raises:
        TypeError: If the policy is recurrent, or has no likelihood.
    """
    policy = model.policy
    parts = []
    with torch.no_grad(), training_mode(policy, False):
        for start in range(0, len(transitions), _ROWS_AT_ONCE):
            rows = transitions[start : start + _ROWS_AT_ONCE]
            observations, actions = policy_batch(model, rows.observations, rows.actions)
            parts.append(_distribution(policy, observations).log_prob(actions))
    joined: npt.NDArray[np.float32] = torch.cat(parts).float().cpu().numpy()
    return joined


def cloning_loss(policy: BasePolicy, observations: Any, actions: Tensor) -> Tensor:
    """Negative log-likelihood of a `policy_batch`, or a deterministic actor's squared error: `[B]`, with gradient."""
    if _is_deterministic(policy):
        return squared_errors(policy, observations, actions).sum(dim=1)
    loss: Tensor = -_distribution(policy, observations).log_prob(actions)
    return loss


def squared_errors(policy: BasePolicy, observations: Any, actions: Tensor) -> Tensor:
    """How far a policy's most likely actions are from those of a `policy_batch`, squared: `[B, A]`, with gradient."""
    actor: Any = getattr(policy, "actor", None)
    chosen: Tensor = actor(observations) if _is_deterministic(policy) else _distribution(policy, observations).mode()
    return (chosen - actions).square()


def policy_batch(model: BaseAlgorithm, observations: Observations, actions: RowsLike) -> tuple[Any, Tensor]:
    """What the policy's networks take of raw observations `[B, *obs]` and executed actions `[B, *act]`."""
    policy, env = model.policy, model.get_env()
    seen = map_observations(np.asarray, observations) if env is None else policy_observations(env, observations)
    rows = np.asarray(actions)
    if isinstance(policy.action_space, spaces.Discrete):
        return policy.obs_to_tensor(seen)[0], torch.as_tensor(rows.reshape(-1), device=policy.device).long()
    if isinstance(policy.action_space, spaces.Box) and policy.squash_output:
        margin = 0.0 if _is_deterministic(policy) else SATURATION
        rows = np.clip(policy.scale_action(rows), margin - 1, 1 - margin)
    flat = rows.reshape(len(rows), -1).astype(np.float32)
    return policy.obs_to_tensor(seen)[0], torch.as_tensor(flat, device=policy.device)


def actor_parameters(policy: BasePolicy) -> list[nn.Parameter]:
    """The trainable parameters that decide the policy's actions, among them a feature extractor shared with the critic.

    Raises:
        TypeError: If the policy is recurrent, or has no actor.
    """
    actor = getattr(policy, "actor", None)
    if isinstance(actor, nn.Module):
        _check_actor(policy)
        return [parameter for parameter in actor.parameters() if parameter.requires_grad]
    rows: Any = create_empty_array(policy.observation_space, n=2, fn=np.zeros)
    with training_mode(policy, False), torch.enable_grad():
        distribution = _distribution(policy, policy.obs_to_tensor(rows)[0])
        likelihood = distribution.log_prob(distribution.get_actions(deterministic=True).detach())
    parameters = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(likelihood.sum(), parameters, allow_unused=True)
    return [parameter for parameter, gradient in zip(parameters, gradients, strict=True) if gradient is not None]


@contextmanager
def training_mode(policy: BasePolicy, mode: bool) -> Iterator[None]:
    """Sets how dropout and batch normalisation behave, for a while."""
    previous = policy.training
    policy.set_training_mode(mode)
    try:
        yield
    finally:
        policy.set_training_mode(previous)


def _distribution(policy: BasePolicy, observations: Any) -> Any:
    """The policy's distribution over actions, which all of SB3's and contrib's families name differently."""
    _check_actor(policy)
    if hasattr(policy, "get_distribution"):
        return policy.get_distribution(observations)  # type: ignore[operator]
    if _is_deterministic(policy):
        raise TypeError(f"{type(policy).__name__} is deterministic, so its actions have no likelihood")
    actor: Any = policy.actor
    mean, log_std, extra = actor.get_action_dist_params(observations)
    return actor.action_dist.proba_distribution(mean, log_std, **extra)


def _check_actor(policy: BasePolicy) -> None:
    if isinstance(policy, RecurrentActorCriticPolicy):
        raise TypeError(
            f"{type(policy).__name__} is recurrent: its actions depend on whole episodes, which transitions do not "
            "hold. Use a policy without memory, such as PPO's or TRPO's"
        )
    if not (hasattr(policy, "get_distribution") or isinstance(getattr(policy, "actor", None), nn.Module)):
        raise TypeError(
            f"{type(policy).__name__} has no actor; expected a policy of A2C, PPO, TRPO, MaskablePPO, SAC, TQC, "
            "CrossQ, TD3 or DDPG"
        )


def _is_deterministic(policy: BasePolicy) -> bool:
    actor = getattr(policy, "actor", None)
    return isinstance(actor, nn.Module) and not hasattr(actor, "get_action_dist_params")
