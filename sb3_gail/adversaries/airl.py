"""Adversarial inverse reinforcement learning: a discriminator made of a reward and a potential."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sb3_gail.adversaries.discriminator import Discriminator, make_network
from sb3_gail.adversaries.discriminator_config import DiscriminatorConfig
from sb3_gail.adversaries.frozen import FrozenReward
from sb3_gail.demonstrations import Demonstrations, check_demonstrations
from sb3_gail.encoder import TransitionEncoder
from sb3_gail.losses import gradient_penalty
from sb3_gail.rewards import RewardFunction
from sb3_gail.transitions import Array, Transitions

_ENCODED: Mapping[str, str] = {"s": "ss'", "sa": "sas'"}
"""What is encoded for a reward's inputs: the potential needs the next observation."""


@dataclass(frozen=True)
class AIRLConfig(DiscriminatorConfig):
    """Settings of an `AIRL`: those of `DiscriminatorConfig`, and these.

    Attributes:
        inputs: What the learned reward `g` sees: `"s"`, for a reward to take to other dynamics, or `"sa"`.
        reward: The policy's: `"airl"` is the paper's, the logit itself, `f - log pi`. Where episodes end early it may
            teach to end them before `h` is known; `"gail"` or `"log_d"` set the sign, as for a `Discriminator`.
        absorbing_states: Not for AIRL: its potential of a terminal state says what an end is worth.
    """

    inputs: str = "s"
    reward: str | RewardFunction = "airl"
    absorbing_states: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.absorbing_states:
            raise ValueError("absorbing_states must be False for AIRL, whose potential says what an end is worth")
        if self.inputs not in _ENCODED:
            raise ValueError(f"inputs must be one of {', '.join(map(repr, _ENCODED))} for AIRL, got {self.inputs!r}")


class ShapedRewardNetwork(nn.Module):
    """`logit = f - log pi` with `f = g(s[, a]) + gamma h(s') - h(s)` (Fu et al. 2018, equation 4).

    A row is `[encoded transition, 1 - terminated, log pi]`.

    Args:
        encoder: What encodes transitions.
        reward: `g`, of all encoded columns but the next observation's, `[B, ...] -> [B]`.
        potential: `h`, of an encoded observation, `[B, ...] -> [B]`.
        gamma: The discount.
    """

    def __init__(self, encoder: TransitionEncoder, reward: nn.Module, potential: nn.Module, *, gamma: float) -> None:
        super().__init__()
        self.reward = reward
        self.potential = potential
        self.gamma = gamma
        self._before, self._after = encoder.parts["observations"], encoder.parts["next_observations"]

    def forward(self, rows: Tensor) -> Tensor:
        """Logits `[B]` of rows `[B, D + 2]`."""
        return self.shaped_reward(rows[:, :-2], rows[:, -2]) - rows[:, -1]

    def shaped_reward(self, encoded: Tensor, goes_on: Tensor) -> Tensor:
        """`f`, `[B]`, of encoded transitions `[B, D]` and `1 - terminated`, `[B]`."""
        potentials = self.potential(torch.cat([encoded[:, self._before], encoded[:, self._after]]))
        before, after = potentials.chunk(2)
        shaped: Tensor = self.reward(encoded[:, : self._after.start]) + self.gamma * goes_on * after - before
        return shaped


class AIRL(Discriminator):
    """AIRL (Fu et al. 2018): a discriminator whose `logit = g(s[, a]) + gamma h(s') - h(s) - log pi(a | s)`.

    ```python
    airl = AIRL.from_demonstrations(demonstrations)
    model.learn(300_000, callback=GAILCallback(airl, demonstrations))
    changed_env = GAILRewardWrapper(changed_env, airl.reward_only())
    ```

    Where a policy imitates perfectly, `f = log pi` is the expert's advantage; with a state-only `g` and deterministic
    dynamics `g` is the reward behind it, up to a constant, and can be taken to other dynamics.

    The potential of a terminal state is 0, because nothing follows there: so the shaping changes no optimal policy, and
    where an episode can end the constant is not free either. A time limit is no end. Demonstrations must therefore say
    which of their episodes terminated, as the environment does of the policy's: else that tells the two apart.

    The likelihoods are the current policy's on both sides; `GAILCallback` fills them in when a rollout ends. A rollout
    that is shorter than a batch waits for the next ones, with those of the policy that made it. Where nobody knows them
    (the reward wrapper alone), the reward is that of `f`.

    Args:
        encoder: Of observations, next observations and, if `g` sees them, actions.
        network: The reward and the potential.
        config: The settings.
        device: As SB3's.
    """

    needs_log_prob = True
    config: AIRLConfig
    network: ShapedRewardNetwork

    @classmethod
    def from_demonstrations(
        cls,
        demonstrations: Demonstrations,
        *,
        device: torch.device | str = "auto",
        network: Callable[[TransitionEncoder], nn.Module] | None = None,
        **settings: Any,
    ) -> AIRL:
        """An AIRL whose inputs are normalised by, and shaped as, some demonstrations.

        Args:
            demonstrations: The expert's.
            device: As SB3's.
            network: Makes `g` and `h`, each from what encodes its input, other than the settings describe.
            **settings: Those of `AIRLConfig`.
        """
        check_demonstrations(demonstrations)
        config = AIRLConfig(**settings)
        encoder = TransitionEncoder(
            demonstrations, inputs=_ENCODED[config.inputs], smallest_deviation=config.smallest_deviation
        )
        reward = make_network(encoder.narrowed(config.inputs), config, network)
        potential = make_network(encoder.narrowed("s"), config, network)
        shaped = ShapedRewardNetwork(encoder, reward, potential, gamma=config.gamma)
        return cls(encoder, shaped, config, device=device)

    def update(
        self, policy: Transitions, expert: Transitions, *, progress_remaining: float
    ) -> Mapping[str, float | Array]:
        """As a `Discriminator`'s.

        Raises:
            ValueError: If a side comes without `log_prob`.
        """
        for side, transitions in (("policy", policy), ("expert", expert)):
            if transitions.log_prob is None:
                raise ValueError(
                    f"AIRL needs log_prob of the {side}'s transitions, got none; GAILCallback fills it in on both sides"
                )
        return super().update(policy, expert, progress_remaining=progress_remaining)

    def use_discount(self, gamma: float) -> None:
        """Takes over the learner's discount, for the potential."""
        super().use_discount(gamma)
        self.network.gamma = gamma

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """As a `Discriminator`'s, with the discount that the state was saved with."""
        super().load_state_dict(state)
        self.network.gamma = state["absorbing"]["gamma"]

    def reward_only(self) -> FrozenReward:
        """A copy of `g` alone, as it is now, to train a fresh agent on."""
        return FrozenReward(self.encoder.narrowed(self.config.inputs), copy.deepcopy(self.network.reward))

    def _encode(self, transitions: Transitions) -> Tensor:
        """Rows of the network, `[B, D + 2]`."""
        encoded: Tensor = self.encoder(transitions)
        goes_on = encoded.new_tensor(~np.asarray(transitions.terminated, dtype=bool))
        known = transitions.log_prob is not None
        log_prob = encoded.new_tensor(transitions.log_prob) if known else torch.zeros_like(goes_on)
        return torch.cat([encoded, goes_on[:, None], log_prob[:, None]], dim=1)

    def _gradient_penalty(self, points: Tensor) -> Tensor:
        """Of `f` alone: the policy's likelihood is given."""
        goes_on = points[:, -2]
        return gradient_penalty(
            lambda encoded: self.network.shaped_reward(encoded, goes_on),
            points[:, :-2],
            target=self.config.gradient_norm,
        )
