"""GAIL's discriminator: a network trained by Adam to tell expert from policy."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium import Space
from stable_baselines3.common.utils import get_device
from torch import Tensor, nn

from sb3_gail.adversaries.absorbing import AbsorbingState
from sb3_gail.adversaries.base import Adversary
from sb3_gail.adversaries.discriminator_config import DiscriminatorConfig
from sb3_gail.adversaries.ends import EndClassifier
from sb3_gail.adversaries.networks import LogitNetwork, check_rows_in_and_out, check_shapes
from sb3_gail.adversaries.pieces import in_pieces
from sb3_gail.demonstrations import Demonstrations, check_demonstrations
from sb3_gail.encoder import TransitionEncoder
from sb3_gail.losses import (
    bernoulli_entropy,
    binary_cross_entropy,
    gradient_penalty,
    interpolate,
    loss_function,
    weight_decay,
)
from sb3_gail.rewards import reward_function
from sb3_gail.schedules import value_at
from sb3_gail.transitions import Array, Transitions

_OF_ENDS: Mapping[str, str] = {"s": "ss'", "ss'": "ss'", "sa": "sas'", "sas'": "sas'"}
"""What is seen of the steps that end episodes, for a discriminator's inputs: the observation they end in, too."""


class Discriminator(Adversary):
    """The neural adversary of GAIL (Ho & Ermon 2016): `logit > 0` means "expert", `D = sigmoid(logit)`.

    ```python
    discriminator = Discriminator.from_demonstrations(demonstrations, reward="airl", gradient_penalty=10.0)
    ```

    Args:
        encoder: Encodes transitions of either side alike; `from_demonstrations` fits it.
        network: Maps encoded transitions `[B, D]` to logits `[B]`, each row by itself.
        config: The settings.
        device: As SB3's: `"auto"`, `"cpu"`, `"cuda"`...
        expert_termination_rate: Terminations per step in the demonstrations, for `absorbing_states`.

    Attributes:
        ends: Tells how the expert's episodes end, for `absorbing_states`, where `from_demonstrations` finds some.

    Raises:
        ValueError: If the device does not exist.
    """

    def __init__(
        self,
        encoder: TransitionEncoder,
        network: nn.Module,
        config: DiscriminatorConfig,
        *,
        device: torch.device | str = "auto",
        expert_termination_rate: float = 0.0,
    ) -> None:
        self.config = config
        self.device = _existing_device(device)
        self.encoder = encoder.to(self.device)
        self.network = network.to(self.device)
        self.ends: EndClassifier | None = None
        # Fused, since the networks are small: a loop over their tensors costs more than the arithmetic.
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=value_at(config.learning_rate, 1.0), fused=True)
        self._reward = reward_function(config.reward)
        self._loss = loss_function(config.loss)
        if config.label_smoothing:
            self._loss = partial(binary_cross_entropy, label_smoothing=config.label_smoothing)
        self._absorbing = AbsorbingState(expert_rate=expert_termination_rate, gamma=config.gamma)
        self._pays_absorbing = config.pays_absorbing_states
        self._pending: list[Transitions] = []
        self._transitions_owed = 0
        self._encoded_expert: tuple[Transitions, Tensor] | None = None

    @classmethod
    def from_demonstrations(
        cls,
        demonstrations: Demonstrations,
        *,
        device: torch.device | str = "auto",
        network: Callable[[TransitionEncoder], nn.Module] | None = None,
        **settings: Any,
    ) -> Discriminator:
        """A discriminator whose inputs are normalised by, and shaped as, some demonstrations.

        Its first weights are drawn by torch, which SB3 seeds only when it makes the model: for runs that repeat, call
        SB3's `set_random_seed` before.

        Args:
            demonstrations: The expert's.
            device: As SB3's.
            network: Makes another network than the MLP (or CNN) that the settings describe, `[B, D] -> [B]`. How
                episodes end is not told then, nor from images: all ends are alike.
            **settings: Those of `DiscriminatorConfig`.
        """
        check_demonstrations(demonstrations)
        config, device = DiscriminatorConfig(**settings), _existing_device(device)
        encoder = TransitionEncoder(demonstrations, inputs=config.inputs, smallest_deviation=config.smallest_deviation)
        rate = config.expert_termination_rate
        rate = demonstrations.termination_rate if rate is None else rate
        made = cls(encoder, make_network(encoder, config, network), config, device=device, expert_termination_rate=rate)
        if config.pays_absorbing_states and rate > 0 and network is None and not encoder.has_images:
            made.ends = _end_classifier(demonstrations, config, device)
        return made

    def logits(self, transitions: Transitions) -> Tensor:
        """`[B]`, without a gradient."""
        self.network.eval()
        return in_pieces(lambda piece: self.network(self._encode(piece)), transitions)

    def reward(self, transitions: Transitions) -> Tensor:
        """The learned reward `[B]` float32, of the logits and, at an episode's end, of the absorbing state."""
        logits = self.logits(transitions)
        if not self._pays_absorbing:
            return self._reward(logits).float()
        rewards = self._reward(logits + self._absorbing.other_logits_lack).float()
        ended = np.flatnonzero(np.asarray(transitions.terminated))
        if not len(ended):
            return rewards
        how = torch.zeros(len(ended)) if self.ends is None else self.ends.logits(transitions[ended])
        worth = self._absorbing.value(self._reward, how)
        return rewards.index_add(0, torch.as_tensor(ended, device=self.device), worth.to(self.device))

    def update(
        self, policy: Transitions, expert: Transitions, *, progress_remaining: float
    ) -> Mapping[str, float | Array]:
        """Adam steps on random minibatches, one for every `transitions_per_step` policy transitions.

        Rollouts that are too short for a batch or a step are kept until there are enough of them; there are no metrics
        until then.

        Returns:
            Means over all minibatches: `loss`, its parts, `expert_accuracy` and `policy_accuracy`, `expert_logit` and
            `policy_logit`; the `expert_logits` and `policy_logits` themselves; `absorbing_logit`, where it pays; and
            `expert_end_logit` and `policy_end_logit`, where there are ends to tell apart.
        """
        self._absorbing.observe(terminations=int(np.sum(policy.terminated)), steps=len(policy))
        self._pending.append(policy)
        self._transitions_owed += len(policy)
        n_steps = self._transitions_owed // self.config.transitions_per_step
        if n_steps == 0 or sum(map(len, self._pending)) < self.config.batch_size:
            return {}
        self._transitions_owed -= n_steps * self.config.transitions_per_step
        policy, self._pending = Transitions.concatenate(self._pending), []
        for group in self.optimizer.param_groups:
            group["lr"] = value_at(self.config.learning_rate, progress_remaining)
        penalty = value_at(self.config.gradient_penalty, progress_remaining)
        self.network.train()
        minibatches = zip(
            self._minibatches(policy, None, n_steps),
            self._minibatches(expert, self._encode_expert, n_steps),
            strict=True,
        )
        metrics = _summary([self._step(*minibatch, penalty) for minibatch in minibatches])
        if self._pays_absorbing:
            metrics["absorbing_logit"] = self._absorbing.logit
        if self.ends is not None:
            metrics |= self.ends.update(policy, expert, n_steps=n_steps, progress_remaining=progress_remaining)
        return metrics

    def check_spaces(self, observation_space: Space[Any], action_space: Space[Any]) -> None:
        """Raises a `ValueError` if the demonstrations that this was made with had other spaces."""
        self.encoder.check_spaces(observation_space, action_space)

    def use_discount(self, gamma: float) -> None:
        """Takes over the learner's discount, for the absorbing state.

        Raises:
            ValueError: If it is not below 1: an absorbing state would be worth infinitely much.
        """
        if self._pays_absorbing and not 0 <= gamma < 1:
            advice = "; or make the discriminator with absorbing_states=False" if gamma == 1 else ""
            raise ValueError(f"expected a learner with a gamma below 1, got {gamma}{advice}")
        self._absorbing.gamma = float(gamma)

    def state_dict(self) -> dict[str, Any]:
        """Network, normaliser, optimiser, what tells ends apart, and what short rollouts left for the next step."""
        return {
            "settings": _what_state_depends_on(self.config),
            "network": self.network.state_dict(),
            "encoder": self.encoder.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "absorbing": self._absorbing.state_dict(),
            "ends": None if self.ends is None else self.ends.state_dict(),
            "transitions_owed": int(self._transitions_owed),
            "pending": [
                {name: torch.as_tensor(array) for name, array in batch.to_arrays().items()} for batch in self._pending
            ],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over a `state_dict` of a discriminator with the same settings, demonstrations' spaces and network.

        Raises:
            ValueError: If it is another's; then nothing is taken over.
        """
        saved, ours = state.get("settings"), _what_state_depends_on(self.config)
        if saved != ours:
            raise ValueError(f"expected the state of a discriminator with the settings {ours}, got one with {saved}")
        check_shapes(self.network, state["network"])
        check_shapes(self.encoder, state["encoder"])
        self._check_ends(state)
        self.network.load_state_dict(state["network"])
        self.encoder.load_state_dict(state["encoder"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._absorbing.load_state_dict(state["absorbing"])
        if self.ends is not None and "ends" in state:
            self.ends.load_state_dict(state["ends"])
        self._transitions_owed = state["transitions_owed"]
        self._pending = [
            Transitions.from_arrays({name: tensor.numpy() for name, tensor in batch.items()})
            for batch in state["pending"]
        ]
        self._encoded_expert = None

    def _check_ends(self, state: Mapping[str, Any]) -> None:
        if "ends" not in state:  # saved before ends were told apart
            if self.ends is not None:
                warnings.warn(
                    "the state does not know how the expert's episodes end, which is learned anew", stacklevel=3
                )
            return
        if (state["ends"] is None) != (self.ends is None):
            wanted, got = ("none", "one") if self.ends is None else ("one", "none")
            raise ValueError(
                f"expected the state of a discriminator with {wanted} of the classifiers that tell how episodes end, "
                f"got {got}; make it with the same demonstrations and settings"
            )
        if self.ends is not None:
            self.ends.check_state(state["ends"])

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the encoded demonstrations behind: a copy in a worker process only scores."""
        return {**self.__dict__, "_encoded_expert": None}

    def _step(self, policy: Tensor, expert: Tensor, penalty: float) -> dict[str, Tensor]:
        """One Adam step on encoded minibatches `[b, D]`."""
        config = self.config
        logits = self.network(torch.cat([policy, expert]))
        policy_logits, expert_logits = logits[: len(policy)], logits[len(policy) :]
        parts = {"adversarial_loss": self._loss(policy_logits, expert_logits)}
        if penalty:
            parts["gradient_penalty"] = penalty * self._gradient_penalty(interpolate(policy, expert))
        if config.entropy_bonus:
            parts["entropy_bonus"] = -config.entropy_bonus * bernoulli_entropy(logits).mean()
        if config.weight_decay:
            weights = (weight for weight in self.network.parameters() if weight.dim() > 1)
            parts["weight_decay"] = config.weight_decay * weight_decay(weights)
        loss = torch.stack(list(parts.values())).sum()
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        metrics = {"loss": loss, **parts, "policy_logits": policy_logits, "expert_logits": expert_logits}
        return {name: value.detach() for name, value in metrics.items()}

    def _encode(self, transitions: Transitions) -> Tensor:
        """What the network takes, `[B, D]`."""
        encoded: Tensor = self.encoder(transitions)
        return encoded

    def _gradient_penalty(self, points: Tensor) -> Tensor:
        """At encoded points `[b, D]`, a scalar."""
        return gradient_penalty(self.network, points, target=self.config.gradient_norm)

    def _minibatches(
        self, transitions: Transitions, encode_all: Callable[[Transitions], Tensor] | None, n_steps: int
    ) -> Iterator[Tensor]:
        """Encoded minibatches `[b, D]` of shuffled transitions; images are encoded only as they are needed.

        Each is a whole batch: it runs over into a new shuffle where transitions are few.
        """
        n_rows = n_steps * self.config.batch_size
        n_shuffles = -(-n_rows // len(transitions))
        order = torch.cat([torch.randperm(len(transitions)) for _ in range(n_shuffles)])
        batches = order[:n_rows].view(n_steps, self.config.batch_size)
        if self.encoder.has_images:
            for index in batches.numpy():
                yield self._encode(transitions[index])
        else:
            encoded = (encode_all or self._encode)(transitions)
            for batch in batches.to(self.device):
                yield encoded[batch]

    def _encode_expert(self, expert: Transitions) -> Tensor:
        """The encoded demonstrations, which do not change between iterations."""
        if self._encoded_expert is None or self._encoded_expert[0] is not expert:
            self._encoded_expert = (expert, self._encode(expert))
        return self._encoded_expert[1]


def make_network(
    encoder: TransitionEncoder, config: DiscriminatorConfig, network: Callable[[TransitionEncoder], nn.Module] | None
) -> nn.Module:
    """The network that the settings describe, or the one that the caller makes."""
    if isinstance(network, nn.Module):
        raise TypeError(
            f"network must be a function of the encoder that makes a network, got a {type(network).__name__}; give "
            f"`lambda encoder: ...`, and RewardNetNetwork(encoder, reward_net) for a RewardNet of the imitation library"
        )
    if network is not None:
        made = network(encoder)
        check_rows_in_and_out(made, encoder)
        return made
    return LogitNetwork(
        encoder,
        hidden_sizes=config.hidden_sizes,
        activation=config.activation,
        use_spectral_norm=config.spectral_norm,
    )


def _end_classifier(
    demonstrations: Demonstrations, config: DiscriminatorConfig, device: torch.device
) -> EndClassifier | None:
    """None where no transition that is imitated terminates."""
    if not np.any(demonstrations.transitions().terminated):
        return None
    inputs = _OF_ENDS[config.inputs]
    encoder = TransitionEncoder(demonstrations, inputs=inputs, smallest_deviation=config.smallest_deviation).to(device)
    return EndClassifier(encoder, make_network(encoder, config, None).to(device), config)


def _summary(steps: list[dict[str, Tensor]]) -> dict[str, float | Array]:
    """Means over all minibatches, and the logits of all of them."""
    joined = {name: torch.stack([step[name] for step in steps]).cpu().numpy() for name in steps[0]}
    policy_logits, expert_logits = joined.pop("policy_logits").ravel(), joined.pop("expert_logits").ravel()
    metrics: dict[str, float | Array] = {name: float(np.mean(values)) for name, values in joined.items()}
    return metrics | {
        "expert_accuracy": float(np.mean(expert_logits > 0)),
        "policy_accuracy": float(np.mean(policy_logits < 0)),
        "expert_logit": float(np.mean(expert_logits)),
        "policy_logit": float(np.mean(policy_logits)),
        "expert_logits": expert_logits,
        "policy_logits": policy_logits,
    }


def _what_state_depends_on(config: DiscriminatorConfig) -> dict[str, Any]:
    """The settings without which weights mean something else, in plain types."""
    names = ("inputs", "reward", "hidden_sizes", "activation", "spectral_norm", "loss", "absorbing_states")
    return {name: _plain(getattr(config, name)) for name in names}


def _plain(value: Any) -> Any:
    """A function by its name, an object that is called by its class's; all else as Python's own."""
    if isinstance(value, (tuple, list)):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic):
        return value.item()
    return getattr(value, "__name__", type(value).__name__) if callable(value) else value


def _existing_device(device: torch.device | str) -> torch.device:
    try:
        chosen = get_device(device) if device == "auto" else torch.device(device)  # SB3's turns "cuda" into "cpu"
        torch.zeros(1, device=chosen)
    except (RuntimeError, AssertionError) as error:  # torch asserts where it is built without CUDA
        raise ValueError(f"device must be one that exists here, got {str(device)!r}: {error}") from error
    return chosen
