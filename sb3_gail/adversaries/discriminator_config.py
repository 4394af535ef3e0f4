"""The settings of GAIL's discriminator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from sb3_gail.adversaries.networks import ACTIVATIONS
from sb3_gail.encoder import INPUTS
from sb3_gail.losses import AdversarialLoss, loss_function
from sb3_gail.rewards import RewardFunction, grows_with_the_logit, reward_function
from sb3_gail.schedules import Scheduled, check_scheduled


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Settings of a `Discriminator`.

    Attributes:
        inputs: What it sees: `"sa"` state and action (GAIL), `"s"`, `"ss'"` (no actions needed) or `"sas'"`.
        reward: A name in `sb3_gail.rewards` (its table says what each does to episodes that end early) or a function of
            logits, `[B] -> [B]`.
        hidden_sizes: Width of each hidden layer.
        activation: `"tanh"`, `"relu"` or `"leaky_relu"`.
        spectral_norm: Whether every layer is spectrally normalised.
        learning_rate: Adam's, or a schedule of it, such as `(3e-4, 3e-5)` for a linear one.
        batch_size: Transitions of either side in one Adam step.
        transitions_per_step: Policy transitions for each Adam step; what is left over counts in the next iteration.
        gradient_penalty: Weight of the penalty on the logit's gradient norm, or a schedule of it.
        gradient_norm: The gradient norm that is not penalised. With 0 the discriminator can go flat where policy and
            expert have become alike, and training settles there (Mescheder et al. 2018, "Which training methods for
            GANs do actually converge?"); a Wasserstein critic needs 1.
        entropy_bonus: Weight of the mean entropy of `D`.
        label_smoothing: How far the cross-entropy's labels are from 0 and 1.
        weight_decay: Weight of half the squared weights, biases excepted.
        loss: `"bce"`, `"wasserstein"` (the logit is a critic: pay it with the reward `"airl"`, and hold it with a
            gradient penalty of 10 or spectral norm) or a function `(policy logits [B], expert logits [E]) -> scalar`.
        smallest_deviation: Inputs are standardised by at least this deviation, in the environment's units, or by at
            least a sixth of their typical deviation where that is less.
        absorbing_states: Whether the step that terminates an episode is also paid what staying in an absorbing state is
            worth, so that no sign of the reward pays for staying alive or for dying (`adversaries.absorbing` says how),
            nor for another end than the expert's (`adversaries.ends`).
            It needs logits that are log ratios of densities, and a reward that grows with them: it has no effect with
            another loss than `"bce"`, nor with a reward such as `"fairl"`, which would pay for a rare end.
        expert_termination_rate: How many terminations a step the absorbing state takes for the expert's; by default as
            many as the demonstrations have, and 0 where they are accidents that are not to be imitated.
        gamma: The learner's discount, which says for how long the absorbing state counts. `GAILCallback` sets it to the
            learner's own, whatever is given here.
    """

    inputs: str = "sa"
    reward: str | RewardFunction = "gail"
    hidden_sizes: tuple[int, ...] = (128, 128)
    activation: str = "tanh"
    spectral_norm: bool = False
    learning_rate: Scheduled = (3e-4, 3e-5)
    batch_size: int = 128
    transitions_per_step: int = 128
    gradient_penalty: Scheduled = 0.1
    gradient_norm: float = 0.0
    entropy_bonus: float = 0.0
    label_smoothing: float = 0.0
    weight_decay: float = 0.0
    loss: str | AdversarialLoss = "bce"
    smallest_deviation: float = 0.1
    absorbing_states: bool = True
    expert_termination_rate: float | None = None
    gamma: float = 0.99

    def __post_init__(self) -> None:
        _check_choice("inputs", self.inputs, INPUTS)
        _check_choice("activation", self.activation, ACTIVATIONS)
        _check_reward(self.reward)
        loss_function(self.loss)
        if not isinstance(self.hidden_sizes, Sequence) or isinstance(self.hidden_sizes, str):
            raise TypeError(f"hidden_sizes must be a tuple of widths, such as (128, 128), got {self.hidden_sizes!r}")
        if not self.hidden_sizes or min(self.hidden_sizes) < 1:
            raise ValueError(f"hidden_sizes must be positive widths, at least one, got {self.hidden_sizes!r}")
        for name in ("spectral_norm", "absorbing_states"):
            if getattr(self, name) not in (False, True):  # text would be true whatever it says
                raise TypeError(f"{name} must be True or False, got {getattr(self, name)!r}")
        for name in ("batch_size", "transitions_per_step"):
            count = getattr(self, name)
            if not isinstance(count, Integral) or isinstance(count, bool) or count < 1:
                raise ValueError(f"{name} must be a positive whole number, got {count!r}")
        for name in ("learning_rate", "gradient_penalty"):
            check_scheduled(name, getattr(self, name))
        for name in ("gradient_norm", "entropy_bonus", "weight_decay", "smallest_deviation"):
            if not 0 <= _number(name, getattr(self, name)) < float("inf"):
                raise ValueError(f"{name} must be a finite number of at least 0, got {getattr(self, name)!r}")
        rate = self.expert_termination_rate
        if rate is not None and not 0 <= _number("expert_termination_rate", rate) <= 1:
            raise ValueError(f"expert_termination_rate must lie in [0, 1], got {rate!r}")
        if not 0 <= _number("gamma", self.gamma) < 1:
            raise ValueError(f"gamma must lie in [0, 1), got {self.gamma!r}")
        if not 0 <= _number("label_smoothing", self.label_smoothing) < 0.5:
            raise ValueError(f"label_smoothing must lie in [0, 0.5), got {self.label_smoothing!r}")
        if self.label_smoothing and self.loss != "bce":
            raise ValueError(f"label_smoothing needs labels, which only the loss 'bce' has, got the loss {self.loss!r}")

    @property
    def pays_absorbing_states(self) -> bool:
        """Whether `absorbing_states` has an effect."""
        return self.absorbing_states and self.loss == "bce" and grows_with_the_logit(reward_function(self.reward))


def _check_reward(reward: str | RewardFunction) -> None:
    function, logits = reward_function(reward), torch.tensor([-2.0, 0.5, 1.0])
    probe = function(logits)
    if not isinstance(probe, Tensor):
        raise TypeError(f"reward must map logits [B] to a tensor [B], got {type(probe).__name__}")
    if probe.shape != (3,):
        raise ValueError(
            f"reward must map logits [B] to as many rewards [B], got the shape {tuple(probe.shape)} for (3,)"
        )
    in_other_company = function(torch.tensor([-2.0, 3.0, -5.0]))
    if not torch.isclose(probe[0], in_other_company[0], equal_nan=True):
        raise ValueError(
            f"reward must map each logit by itself, whatever else is in the batch, got {probe[0]:g} and "
            f"{in_other_company[0]:g} for -2 in two batches"
        )


def _check_choice(name: str, value: str, choices: Mapping[str, Any]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def _number(name: str, value: object) -> float:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, got {value!r}")
    return float(value)
