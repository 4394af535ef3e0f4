"""The learned reward as a pure function of the discriminator's logit.

Throughout, `logit > 0` means "expert" and `D = sigmoid(logit)` is the probability that a transition is the expert's.

| name | reward | values | an episode that may end early |
| --- | --- | --- | --- |
| `gail` | `-log(1 - D)` | positive | every step pays: prolongs episodes, wherever they lead |
| `log_d` | `log D` | negative | every step costs: ends episodes as soon as possible |
| `airl` | `log D - log(1 - D)` | both signs | early on, sure that nothing is the expert's, it costs: ends episodes |
| `fairl` | `-logit * exp(logit)` | both signs | costs where the expert is sure; unstable for large logits |

The last column is without absorbing states (`DiscriminatorConfig.absorbing_states`), which take that bias away from the
first three; where a reward does not grow with the logit, as `fairl`, there are none. What is left is the slope: `gail`
hardly tells bad from very bad, `log_d` good from very good, `airl` tells both apart.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

RewardFunction = Callable[[Tensor], Tensor]

_LARGEST_FAIRL_LOGIT = 20.0


def gail_reward(logits: Tensor) -> Tensor:
    """`-log(1 - D) >= 0` (Ho & Ermon 2016, Algorithm 1, with D turned round), `[B] -> [B]`."""
    return F.softplus(logits)


def log_d_reward(logits: Tensor) -> Tensor:
    """`log D <= 0` (Goodfellow et al. 2014, the generator's non-saturating loss), `[B] -> [B]`."""
    return F.logsigmoid(logits)


def airl_reward(logits: Tensor) -> Tensor:
    """`log D - log(1 - D)`, which is the logit itself (Fu et al. 2018, section 4), `[B] -> [B]`."""
    return logits.clone()


def fairl_reward(logits: Tensor) -> Tensor:
    """`-h exp(h)` with `h = log D - log(1 - D)`, for the forward KL (Ghasemipour et al. 2019, section 3), `[B] -> [B]`.

    The exponential's argument is held below 20, where float32 has lost the difference anyway.
    """
    return -logits * logits.clamp(max=_LARGEST_FAIRL_LOGIT).exp()


def grows_with_the_logit(reward: RewardFunction) -> bool:
    """Whether more of an expert is never paid less, for logits from -6 to 6: `D` from 0.002 to 0.998."""
    rewards = reward(torch.linspace(-6.0, 6.0, 121))
    return bool((rewards.diff() >= 0).all())


REWARDS: dict[str, RewardFunction] = {
    "gail": gail_reward,
    "log_d": log_d_reward,
    "airl": airl_reward,
    "fairl": fairl_reward,
}


def reward_function(reward: str | RewardFunction) -> RewardFunction:
    """The reward of a name, or the callable itself.

    Raises:
        ValueError: If no reward has this name.
        TypeError: If it is neither a name nor a callable.
    """
    if callable(reward):
        return reward
    if not isinstance(reward, str):
        raise TypeError(f"reward must be a name or a function of logits [B] -> [B], got {type(reward).__name__}")
    if reward not in REWARDS:
        raise ValueError(
            f"reward must be one of {', '.join(REWARDS)} or a function of logits [B] -> [B], got {reward!r}"
        )
    return REWARDS[reward]
