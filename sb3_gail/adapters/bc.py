"""Behavioural cloning: the policy of an SB3 model, trained in place on demonstrations before it imitates by GAIL."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor, nn
from tqdm import tqdm

from sb3_gail.adapters.imitation import imitation_bc_epoch
from sb3_gail.demonstrations import Demonstrations
from sb3_gail.encoder import is_constant
from sb3_gail.likelihood import actor_parameters, cloning_loss, policy_batch, squared_errors, training_mode
from sb3_gail.raw_observations import policy_observations, raw_vec_env
from sb3_gail.transitions import Observations, Transitions

Index = npt.NDArray[np.intp]

STATISTICS_COUNT = 1_000_000
"""How many observations the demonstrations count for in `VecNormalize`: a training run should hardly move them."""

SMALLEST_DEVIATION_SHARE = 0.1
"""A fitted deviation is kept above this share of half the action's range, so that the cloned policy still explores."""

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class BCResult:
    """What behavioural cloning came to.

    Attributes:
        training_losses: Mean negative log-likelihood (squared error for deterministic actors) in each epoch. Where rows
            are held out, on the others, until training stopped early; those of the second training are not kept.
        validation_losses: The same after each epoch on the held-out rows, where each action has a deviation of its own
            with those that fit them best; empty where none were held out.
        best_epoch: The epoch with the least of these (without them the last), an index into the losses. The policy was
            trained for `best_epoch + 1` passes through all transitions.
    """

    training_losses: tuple[float, ...]
    validation_losses: tuple[float, ...]
    best_epoch: int


def pretrain_bc(
    model: BaseAlgorithm,
    demonstrations: Demonstrations,
    *,
    epochs: int = 1000,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    l2: float = 1e-3,
    validation_fraction: float = 0.1,
    patience: int | None = None,
    log_std: float | None = None,
    backend: str = "torch",
    progress_bar: bool = False,
    seed: int | None = None,
) -> BCResult:
    """Trains a model's policy in place to choose the expert's actions, by maximum likelihood.

    ```python
    model = TRPO("MlpPolicy", env)
    pretrain_bc(model, demonstrations)
    model.learn(300_000, callback=GAILCallback(discriminator, demonstrations))
    ```

    Stochastic policies (A2C, PPO, TRPO, MaskablePPO without its masks, SAC, TQC, CrossQ) maximise the likelihood of the
    executed actions; TD3's and DDPG's actor minimises the squared error, on the scale of [-1, 1], and its target
    becomes the same. Only the actor is trained, with an Adam of its own: critics and the model's optimisers stay as
    they were. A feature extractor that the critic shares belongs to the actor. The cloned model is saved by SB3's own
    `save`.

    A `VecNormalize` around the environment first takes its statistics from the demonstrations, with a count that holds:
    were they to move, the cloned policy would see other observations than it was trained on. Frozen statistics
    (`training=False`) stay.

    Held-out rows say how many passes are enough; then training starts again from the same weights and makes as many on
    all transitions, for there are seldom enough of them (Goodfellow, Bengio & Courville 2016, algorithm 7.2). Where
    each action has a deviation of its own (A2C, PPO, TRPO with `Box` actions), it follows at Adam's pace: with few
    batches the likelihood rises as it shrinks, long after the actions have become worse. There the held-out rows are
    judged with the deviations that fit them best, which the policy keeps.

    The critic still knows nothing, and neither does a new adversary: `callbacks.CriticWarmupCallback` lets both catch
    up before the policy moves.

    Args:
        model: An SB3 or contrib model, with its environment.
        demonstrations: The expert's.
        epochs: Passes through the demonstrations at most, in either training.
        batch_size: Transitions of one Adam step.
        learning_rate: Adam's.
        l2: Weight of half the sum of the actor's squared parameters in the loss; its `log_std` is exempt.
        validation_fraction: Share of the transitions that are held out, at random. Neighbours in an episode are alike:
            of demonstrations that are not subsampled the loss on them is optimistic. A handful of rows tells little: of
            fewer than about fifty transitions better hold none out. 0 does, and then all epochs are run.
        patience: Epochs without a better held-out loss before training stops; by default 20, or as many as have 1000
            Adam steps where that is more.
        log_std: Where the deviation is a parameter of the policy, its logarithm is set to this afterwards. By default
            it is the fitted one, but at least a tenth of half the action's range: a policy cloned to near-determinism
            explores no more.
        backend: `"torch"`, or `"imitation"`: its own `bc.BC` takes the steps (on-policy learners only).
        progress_bar: Whether to show one.
        seed: Of the held-out rows and the batches; by default the model's.

    Returns:
        The losses.

    Raises:
        TypeError: For another type of model or demonstrations, or if the policy is recurrent or has no actor.
        ValueError: If a setting is out of range or the demonstrations do not fit the model's spaces.
        ImportError: If the backend is not installed.
    """
    if not isinstance(model, BaseAlgorithm):
        raise TypeError(f"model must be an SB3 or sb3-contrib algorithm, such as TRPO(...), got {type(model).__name__}")
    if not isinstance(demonstrations, Demonstrations):
        raise TypeError(
            f"demonstrations must be Demonstrations, such as Demonstrations.load(path), got "
            f"{type(demonstrations).__name__}"
        )
    _check_settings(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        l2=l2,
        validation_fraction=validation_fraction,
        patience=1 if patience is None else patience,
    )
    if backend not in _BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(map(repr, _BACKENDS))}, got {backend!r}")
    actor = actor_parameters(model.policy)
    if log_std is not None and _log_std(model.policy) is None:
        raise ValueError(
            f"log_std can be set where it is a parameter of its own, but {type(model.policy).__name__} on "
            f"{model.action_space} has none; leave it out"
        )
    _check_spaces(model, demonstrations)
    transitions = demonstrations.transitions()
    generator = np.random.default_rng(model.seed if seed is None else seed)
    training, held_out = _split(len(transitions), validation_fraction, generator)
    everything = _Batches(model, transitions, np.arange(len(transitions)), batch_size, generator)

    epoch_on = partial(_BACKENDS[backend], actor=actor, learning_rate=learning_rate, l2=l2)
    subset = replace(everything, rows=training)
    train_epoch = epoch_on(subset)
    _take_statistics(model, transitions.observations)
    fitted: Tensor | None = None
    if len(held_out) == 0:
        result = BCResult(_train(train_epoch, epochs, progress_bar), (), epochs - 1)
    else:
        start = copy.deepcopy(model.policy.state_dict())
        result, fitted = _stop_early(
            train_epoch,
            replace(everything, rows=held_out),
            epochs=epochs,
            patience=_patience(subset) if patience is None else patience,
            progress_bar=progress_bar,
        )
        model.policy.load_state_dict(start)
        _train(epoch_on(everything), result.best_epoch + 1, progress_bar)

    _reset_log_std(model.policy, log_std, fitted)
    policy: Any = model.policy
    if hasattr(policy, "actor_target"):
        policy.actor_target.load_state_dict(policy.actor.state_dict())
    return result


@dataclass(frozen=True)
class _Batches:
    """Shuffled training batches of what the policy's networks take, anew in each iteration."""

    model: BaseAlgorithm
    transitions: Transitions
    rows: Index
    batch_size: int
    generator: np.random.Generator
    drop_last: bool = False

    @property
    def size(self) -> int:
        return min(self.batch_size, len(self.rows))

    @property
    def whole(self) -> int:
        """How many batches of that size there are at least, with the last one dropped or not."""
        return len(self.rows) // self.size

    def __iter__(self) -> Iterator[tuple[Any, Tensor]]:
        shuffled = self.generator.permutation(self.rows)
        stop = len(shuffled) - len(shuffled) % self.size if self.drop_last else len(shuffled)
        for start in range(0, stop, self.size):
            yield self.at(shuffled[start : start + self.size])

    def at(self, index: Index) -> tuple[Any, Tensor]:
        """The policy's observations and actions `[b, ...]` at an index `[b]` into all transitions."""
        rows = self.transitions[index]
        return policy_batch(self.model, rows.observations, rows.actions)

    def judge(self, measure: Callable[..., Tensor]) -> Tensor:
        """What a measure of observations and actions, `[b, ...]`, is on average over the rows, without training."""
        total = torch.zeros(())
        with torch.no_grad(), training_mode(self.model.policy, False):
            for start in range(0, len(self.rows), _ROWS_AT_ONCE):
                batch = self.at(self.rows[start : start + _ROWS_AT_ONCE])
                total = total + measure(self.model.policy, *batch).sum(dim=0).cpu()
        return total / len(self.rows)


Epoch = Callable[[], float]
"""Takes one pass through the training rows and returns its mean loss."""


def _train(train_epoch: Epoch, epochs: int, progress_bar: bool) -> tuple[float, ...]:
    passes = tqdm(range(epochs), "behavioural cloning", unit="epoch", disable=not progress_bar)
    return tuple(train_epoch() for _ in passes)


def _patience(batches: _Batches) -> int:
    """With few transitions 20 epochs are too few steps to learn them."""
    return max(20, math.ceil(1000 / batches.whole))


def _stop_early(
    train_epoch: Epoch, held_out: _Batches, *, epochs: int, patience: int, progress_bar: bool
) -> tuple[BCResult, Tensor | None]:
    """Trains until held-out rows have not been cloned better for a while; with the deviation that fitted them best."""
    training_losses: list[float] = []
    validation_losses: list[float] = []
    best_epoch, best_deviation = 0, None
    with tqdm(total=epochs, desc="when to stop cloning", unit="epoch", disable=not progress_bar) as progress:
        for epoch in range(epochs):
            training_losses.append(train_epoch())
            loss, deviation = _held_out_loss(held_out)
            validation_losses.append(loss)
            progress.update()
            progress.set_postfix(training=training_losses[-1], held_out=loss, refresh=False)
            if loss <= min(validation_losses):
                best_epoch, best_deviation = epoch, deviation
            elif epoch - best_epoch >= patience:
                break
    return BCResult(tuple(training_losses), tuple(validation_losses), best_epoch), best_deviation


def _held_out_loss(held_out: _Batches) -> tuple[float, Tensor | None]:
    """The mean loss, for a Gaussian policy with the logarithms of the deviations `[A]` that make it least.

    None is smaller than the policy may keep: few rows that are met by chance would count for everything.
    """
    smallest = _smallest_log_std(held_out.model.policy)
    if smallest is None:
        return held_out.judge(cloning_loss).item(), None
    variance = held_out.judge(squared_errors)
    log_std = torch.maximum(variance.log() / 2, smallest)
    losses = variance / (2 * (2 * log_std).exp()) + log_std + math.log(2 * math.pi) / 2
    return losses.sum().item(), log_std


def _torch_epochs(batches: _Batches, actor: list[nn.Parameter], learning_rate: float, l2: float) -> Epoch:
    policy = batches.model.policy
    deviation = _log_std(policy)
    decayed = [parameter for parameter in actor if parameter is not deviation]
    groups: list[dict[str, Any]] = [{"params": decayed, "weight_decay": l2}]
    if deviation is not None:
        groups.append({"params": [deviation]})
    optimizer = torch.optim.Adam(groups, lr=learning_rate)

    def train_epoch() -> float:
        total = 0.0
        with training_mode(policy, True):
            for observations, actions in batches:
                losses = cloning_loss(policy, observations, actions)
                optimizer.zero_grad()
                losses.mean().backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                total += losses.sum().item()
        return total / len(batches.rows)

    return train_epoch


def _imitation_epochs(batches: _Batches, actor: list[nn.Parameter], learning_rate: float, l2: float) -> Epoch:
    policy = batches.model.policy
    train = imitation_bc_epoch(
        policy, replace(batches, drop_last=True), batch_size=batches.size, learning_rate=learning_rate, l2=l2
    )
    trained = set(map(id, actor))
    others = [parameter for parameter in policy.parameters() if id(parameter) not in trained]
    before = [parameter.detach().clone() for parameter in others]

    def train_epoch() -> float:
        train()
        with torch.no_grad():
            for parameter, value in zip(others, before, strict=True):
                parameter.copy_(value)  # its L2 reaches the critic, too
        return batches.judge(cloning_loss).item()

    return train_epoch


_BACKENDS = {"torch": _torch_epochs, "imitation": _imitation_epochs}


def _split(n: int, fraction: float, generator: np.random.Generator) -> tuple[Index, Index]:
    """Indices to train on and held-out ones; at least one of either where a share is held out."""
    if fraction == 0:
        return np.arange(n), np.arange(0)
    if n < 2:
        raise ValueError(f"expected at least 2 transitions to hold some out, got {n}; give validation_fraction=0")
    n_held_out = min(max(round(fraction * n), 1), n - 1)
    shuffled = generator.permutation(n)
    return shuffled[n_held_out:], shuffled[:n_held_out]


def _take_statistics(model: BaseAlgorithm, observations: Observations) -> None:
    """Gives `VecNormalize`, where there is one that learns, the demonstrations' mean and variance."""
    normalise = model.get_vec_normalize_env()
    if normalise is None or not (normalise.norm_obs and normalise.training):
        return
    seen = policy_observations(normalise.venv, observations)
    if isinstance(normalise.obs_rms, dict):
        statistics = [(normalise.obs_rms[key], seen[key]) for key in normalise.obs_rms]
    else:
        statistics = [(normalise.obs_rms, seen)]
    for running, rows in statistics:
        mean, variance = rows.mean(axis=0, dtype=np.float64), rows.var(axis=0, dtype=np.float64)
        running.mean, running.var = mean, np.where(is_constant(mean, np.sqrt(variance)), 1.0, variance)
        running.count = STATISTICS_COUNT


def _log_std(policy: BasePolicy) -> nn.Parameter | None:
    """The logarithm of the deviation, where it is a parameter of its own and not a function of the observation."""
    log_std = getattr(getattr(policy, "actor", policy), "log_std", None)
    return log_std if isinstance(log_std, nn.Parameter) else None


def _smallest_log_std(policy: BasePolicy) -> Tensor | None:
    """Of each action, `[A]`; `None` for state-dependent exploration's matrix, and without a deviation of its own."""
    log_std = _log_std(policy)
    if log_std is None or log_std.dim() != 1 or not isinstance(policy.action_space, spaces.Box):
        return None
    half_range = torch.as_tensor(policy.action_space.high - policy.action_space.low).reshape(-1) / 2
    return (SMALLEST_DEVIATION_SHARE * half_range).log()


def _reset_log_std(policy: BasePolicy, value: float | None, fitted: Tensor | None) -> None:
    log_std, smallest = _log_std(policy), _smallest_log_std(policy)
    if log_std is None:
        return
    with torch.no_grad():
        if value is not None:
            log_std.fill_(value)
        elif fitted is not None:
            log_std.copy_(fitted)
        elif smallest is not None:
            log_std.clamp_(min=smallest.to(log_std))


def _check_spaces(model: BaseAlgorithm, demonstrations: Demonstrations) -> None:
    env = model.get_env()
    raw = model if env is None else raw_vec_env(env)
    demonstrations.check_spaces(raw.observation_space, raw.action_space)


def _check_settings(**settings: float) -> None:
    for name in ("epochs", "batch_size", "patience"):
        if not isinstance(settings[name], int) or settings[name] < 1:
            raise ValueError(f"{name} must be a positive whole number, got {settings[name]!r}")
    if not 0 < settings["learning_rate"] < float("inf"):
        raise ValueError(f"learning_rate must be a positive number, got {settings['learning_rate']!r}")
    if not 0 <= settings["l2"] < float("inf"):
        raise ValueError(f"l2 must be a finite number of at least 0, got {settings['l2']!r}")
    if not 0 <= settings["validation_fraction"] < 1:
        raise ValueError(f"validation_fraction must lie in [0, 1), got {settings['validation_fraction']!r}")
