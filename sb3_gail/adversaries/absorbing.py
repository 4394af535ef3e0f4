"""What the end of an episode is worth: the learned reward of an absorbing state, in closed form."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from sb3_gail.rewards import RewardFunction

WINDOW = 20_000
"""The policy's rate of termination is that of about so many of its last transitions."""

SMALLEST_SHARE = 0.01
"""Shares are kept this far from 0 and 1: a termination that was never seen is not impossible."""

_LARGEST_LOGIT = math.log((1 - SMALLEST_SHARE) / SMALLEST_SHARE)


class AbsorbingState:
    """The state that an episode stays in once it has terminated, as a discriminator would see it.

    A reward of one sign pays for staying alive or for dying, whatever the demonstrations say. Without that bias, an
    episode that terminates goes on in an absorbing state and is rewarded there, too (Kostrikov et al. 2019,
    "Discriminator-Actor-Critic", section 4.2). Here no such transitions are made: were that state a single one, the
    optimal logit of it is known. It is visited for `1 / (1 - gamma)` steps after each termination, so its share of
    all steps follows from the rate of terminations, and its logit is the logarithm of the ratio of both sides' shares.
    All other states have the rest; a discriminator that is trained on them alone lacks the ratio of that. Where it is
    told how an episode ended (`EndClassifier`), the logit of that is added.

    Args:
        expert_rate: Terminations per step in the demonstrations.
        gamma: The learner's discount.
    """

    def __init__(self, *, expert_rate: float, gamma: float) -> None:
        self.gamma = float(gamma)
        self._expert_rate = float(expert_rate)
        self._steps = 0.0
        self._terminations = 0.0

    def observe(self, *, terminations: int, steps: int) -> None:
        """Counts the policy's terminations among some of its steps."""
        remembered = math.exp(-steps / WINDOW)
        self._steps = remembered * self._steps + steps
        self._terminations = remembered * self._terminations + terminations

    @property
    def logit(self) -> float:
        """Of the absorbing state: as low as it gets if the expert is never there, however rarely the policy is."""
        if self._expert_rate == 0:
            return -_LARGEST_LOGIT
        return math.log(self._expert_share / self._policy_share)

    @property
    def other_logits_lack(self) -> float:
        """What is to be added to logits of a discriminator that was trained on the other states alone."""
        return math.log((1 - self._expert_share) / (1 - self._policy_share))

    def value(self, reward: RewardFunction, how: Tensor) -> Tensor:
        """The discounted reward of staying there for good, `[B]` float32, seen from the steps that lead there.

        Args:
            reward: Of logits.
            how: `[B]`, the logit of how each step leads there; 0 where nobody tells.
        """
        logits = (self.logit + how).clamp(-_LARGEST_LOGIT, _LARGEST_LOGIT)
        return self.gamma / (1 - self.gamma) * reward(logits).float()

    def state_dict(self) -> dict[str, float]:
        """What was counted, on both sides."""
        return {
            "expert_rate": self._expert_rate,
            "gamma": self.gamma,
            "steps": self._steps,
            "terminations": self._terminations,
        }

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Takes over a `state_dict`."""
        self._expert_rate, self.gamma = state["expert_rate"], state["gamma"]
        self._steps, self._terminations = state["steps"], state["terminations"]

    @property
    def _expert_share(self) -> float:
        return self._share(self._expert_rate)

    @property
    def _policy_share(self) -> float:
        """The expert's, before anything is known of the policy's."""
        return self._share(self._terminations / self._steps) if self._steps else self._expert_share

    def _share(self, rate: float) -> float:
        """Of the absorbing state among all steps, if it takes `1 / (1 - gamma)` of them for each termination."""
        absorbed = rate / (1 - self.gamma)
        return min(max(absorbed / (1 + absorbed), SMALLEST_SHARE), 1 - SMALLEST_SHARE)
