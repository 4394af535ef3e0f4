"""What the defaults are compared with: each choice behind them, undone or replaced by another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Variant:
    """The defaults, but for some settings.

    Attributes:
        title: What it is called on a page.
        settings: Fields of `TrainSettings`.
    """

    title: str
    settings: Mapping[str, Any] = field(default_factory=dict)


def _discriminator(title: str, **settings: Any) -> Variant:
    return Variant(title, {"discriminator": settings})


def _learner(title: str, **settings: Any) -> Variant:
    return Variant(title, {"learner": settings})


VARIANTS = {
    "defaults": Variant("the defaults"),
    "penalty-1": _discriminator("gradient penalty of weight 1 towards norm 1", gradient_penalty=1.0, gradient_norm=1.0),
    "penalty-strong": _discriminator("gradient penalty of weight 1", gradient_penalty=1.0),
    "penalty-0.3": _discriminator("gradient penalty of weight 0.3", gradient_penalty=0.3),
    "no-penalty": _discriminator("no gradient penalty", gradient_penalty=0.0),
    "spectral-norm": _discriminator("spectral norm instead of the penalty", gradient_penalty=0.0, spectral_norm=True),
    "gail-reward": _discriminator("reward `gail`", reward="gail"),
    "airl-reward": _discriminator("reward `airl`", reward="airl"),
    "log_d-reward": _discriminator("reward `log_d`", reward="log_d"),
    "no-absorbing": _discriminator("no absorbing states", absorbing_states=False),
    "no-floor": _discriminator("inputs standardised without a smallest deviation", smallest_deviation=0.0),
    "half-steps": _discriminator("half as many Adam steps a rollout", transitions_per_step=256),
    "twice-steps": _discriminator("twice as many Adam steps a rollout", transitions_per_step=64),
    "constant-rate": _discriminator("a constant learning rate of the discriminator", learning_rate=3e-4),
    "short-rollouts": _learner("32 steps of each copy in a rollout", n_steps=32),
    "long-rollouts": _learner("256 steps of each copy in a rollout", n_steps=256),
    "half-kl": _learner("half the target KL", target_kl=0.02),
    "wide-noise": _learner("first actions with SB3's deviation of 1", policy_kwargs={"log_std_init": 0.0}),
    "narrow-noise": _learner("first actions with a deviation of 0.37", policy_kwargs={"log_std_init": -1.0}),
    "replay": Variant("three past rollouts replayed", {"replay_rollouts": 3}),
    "no-entropy": Variant("the policy's entropy not rewarded", {"causal_entropy": 0.0}),
    "cloned": Variant("behavioural cloning first (`--pretrain True`)", {"pretrain": True}),
    "not-cloned": Variant("no behavioural cloning (`--pretrain False`)", {"pretrain": False}),
}
"""By the name that their folders have."""
