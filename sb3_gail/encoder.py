"""From transitions in the environment's own units to the fixed, normalised numbers a network takes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import (
    get_flattened_obs_dim,
    is_image_space,
    is_image_space_channels_first,
    preprocess_obs,
)
from stable_baselines3.common.vec_env import VecTransposeImage
from torch import Tensor, nn

from sb3_gail.transitions import Array, Transitions, single_precision

if TYPE_CHECKING:
    from sb3_gail.demonstrations import Demonstrations

INPUTS: Mapping[str, tuple[str, ...]] = {
    "s": ("observations",),
    "sa": ("observations", "actions"),
    "ss'": ("observations", "next_observations"),
    "sas'": ("observations", "actions", "next_observations"),
}
"""What a network may see of a transition."""

_CONSTANT = 1e-6
"""A number that varies less than this share of its size is a constant of the task, such as a body's mass."""

_VANISHING = 1e-9
"""Nor does a number that varies less than this: a simulator's rounding about 0."""


@dataclass(frozen=True)
class Leaf:
    """One array of an observation or action, as `size` columns of the encoding.

    Attributes:
        key: The key in a dict observation, else `None`.
        raw_space: The space of the environment's own values.
        space: The same with an image's channels first.
    """

    key: str | None
    raw_space: spaces.Space[Any]
    space: spaces.Space[Any]

    @property
    def size(self) -> int:
        """How many columns."""
        return get_flattened_obs_dim(self.space)

    @property
    def is_image(self) -> bool:
        """Whether it is scaled from bytes to `[0, 1]` and goes through a CNN."""
        return is_image_space(self.space)

    @property
    def is_normalised(self) -> bool:
        """Whether it is standardised by the demonstrations: numbers are, categories and images are not."""
        return isinstance(self.space, spaces.Box) and not self.is_image

    def rows(self, values: Any) -> Array:
        """The leaf's own array, channels first, `[B, ...]`."""
        array = np.asarray(values[self.key] if self.key is not None else values)
        return np.moveaxis(array, -1, 1) if self.space is not self.raw_space else array

    def encode(self, values: Any, device: torch.device) -> Tensor:
        """`[B, size]` float32 columns, not yet standardised."""
        rows = torch.as_tensor(single_precision(np.ascontiguousarray(self.rows(values))), device=device)
        encoded = preprocess_obs(rows, self.space)
        if not isinstance(encoded, Tensor):
            raise TypeError(f"expected an array for {self.space}, got {type(encoded).__name__}")
        return encoded.reshape(len(rows), self.size)


class TransitionEncoder(nn.Module):
    """Encodes transitions as `[B, D]` float32: standardised by the demonstrations, the same for both sides, and fixed.

    The columns are those of the observation, the action and the next observation, as far as `inputs` names them.
    Numbers are standardised with the demonstrations' mean and deviation and clipped; a column that is constant in the
    demonstrations is 0 throughout, since simulators differ in the last digits of masses; but a constant action, which
    the policy is to take as well, counts in halves of its range. Images are scaled to `[0, 1]` with channels first,
    categories are one-hot.

    Args:
        demonstrations: What mean and deviation are fitted on, and what names the spaces.
        inputs: `"sa"`, `"s"`, `"ss'"` or `"sas'"`.
        clip: Largest absolute value of a standardised number.
        smallest_deviation: Numbers are divided by at least this, in the environment's units: what an expert holds
            almost still would otherwise outweigh all the rest. Where the numbers are small ones, at least by a sixth of
            their typical (geometric mean) deviation.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self, demonstrations: Demonstrations, *, inputs: str = "sa", clip: float = 10.0, smallest_deviation: float = 0.0
    ) -> None:
        super().__init__()
        self.inputs = inputs
        self.clip = clip
        self.observation_leaves = _leaves(demonstrations.observation_space)
        self.action_leaves = _leaves(demonstrations.action_space)
        transitions = demonstrations.transitions()
        observation_fit = _fit(self.observation_leaves, transitions.observations, smallest_deviation)
        action_fit = _fit(self.action_leaves, transitions.actions, smallest_deviation, keep_constant=True)
        fits = [action_fit if part == "actions" else observation_fit for part in INPUTS[inputs]]
        self.register_buffer("mean", torch.cat([mean for mean, _ in fits]))
        self.register_buffer("scale", torch.cat([scale for _, scale in fits]))

    @property
    def size(self) -> int:
        """`D`, the number of columns."""
        return len(self.mean)

    @property
    def parts(self) -> dict[str, slice]:
        """Which columns are the `observations`', `actions`' and `next_observations`'."""
        parts, start = {}, 0
        for part in INPUTS[self.inputs]:
            stop = start + sum(leaf.size for leaf in self._leaves_of(part))
            parts[part] = slice(start, stop)
            start = stop
        return parts

    @property
    def has_images(self) -> bool:
        """Whether encoded rows are too large to hold all at once."""
        return any(leaf.is_image for leaf in self.observation_leaves)

    def narrowed(self, inputs: str) -> TransitionEncoder:
        """The same encoding of fewer parts.

        Args:
            inputs: As in the constructor; of the parts that this encoder has.
        """
        columns = torch.cat([torch.arange(self.size)[self.parts[part]] for part in INPUTS[inputs]])
        narrowed = copy.deepcopy(self)
        narrowed.inputs = inputs
        narrowed.mean, narrowed.scale = self.mean[columns], self.scale[columns]
        return narrowed

    def check_spaces(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
        """Raises a `ValueError` if transitions with such spaces cannot be encoded."""
        for name, leaves, space in (
            ("observations", self.observation_leaves, observation_space),
            ("actions", self.action_leaves, action_space),
        ):
            ours = {leaf.key: (type(leaf.raw_space), leaf.raw_space.shape, leaf.size) for leaf in leaves}
            theirs = {leaf.key: (type(leaf.raw_space), leaf.raw_space.shape, leaf.size) for leaf in _leaves(space)}
            if ours != theirs:
                expected = {leaf.key: leaf.raw_space for leaf in leaves}
                raise ValueError(
                    f"expected an environment whose {name} are like those of the demonstrations that this was made "
                    f"with, {expected.get(None, expected)}, got {space}; make it with this environment's demonstrations"
                )

    def forward(self, transitions: Transitions) -> Tensor:
        """`[B, D]` float32 on the encoder's device."""
        columns = [
            leaf.encode(getattr(transitions, part), self.mean.device)
            for part in INPUTS[self.inputs]
            for leaf in self._leaves_of(part)
        ]
        return ((torch.cat(columns, dim=1) - self.mean) * self.scale).clamp(-self.clip, self.clip)

    def _leaves_of(self, part: str) -> tuple[Leaf, ...]:
        return self.action_leaves if part == "actions" else self.observation_leaves


def has_images(observation_space: spaces.Space[Any]) -> bool:
    """Whether an observation is an image, or has one among its parts."""
    return any(leaf.is_image for leaf in _leaves(observation_space))


def _leaves(space: spaces.Space[Any]) -> tuple[Leaf, ...]:
    if isinstance(space, spaces.Dict):
        return tuple(Leaf(key, inner, _channels_first(inner)) for key, inner in space.spaces.items())
    return (Leaf(None, space, _channels_first(space)),)


def _channels_first(space: spaces.Space[Any]) -> spaces.Space[Any]:
    if isinstance(space, spaces.Box) and is_image_space(space) and not is_image_space_channels_first(space):
        return VecTransposeImage.transpose_space(space)
    return space


def is_constant(mean: Array, deviation: Array) -> Array:
    """Which columns vary too little to tell anything, `[D]` bool."""
    return deviation <= np.maximum(_CONSTANT * np.abs(mean), _VANISHING)


def _fit(
    leaves: tuple[Leaf, ...], values: Any, smallest_deviation: float, *, keep_constant: bool = False
) -> tuple[Tensor, Tensor]:
    """Mean and inverse deviation `[D]` of all columns; 0 and 1 where a leaf is not standardised."""
    means, scales = [], []
    for leaf in leaves:
        mean, scale = np.zeros(leaf.size), np.ones(leaf.size)
        if leaf.is_normalised:
            rows = leaf.rows(values).reshape(-1, leaf.size).astype(np.float64)
            mean, deviation = rows.mean(axis=0), rows.std(axis=0)
            varies = ~is_constant(mean, deviation)
            floor = min(smallest_deviation, _typical(deviation[varies]) / 6)
            scale = np.where(varies, 1.0 / np.maximum(deviation, max(floor, _VANISHING)), 0.0)
            if keep_constant:
                scale = np.where(varies, scale, 1.0 / _half_range(leaf.space))
        means.append(torch.as_tensor(mean, dtype=torch.float32))
        scales.append(torch.as_tensor(scale, dtype=torch.float32))
    return torch.cat(means), torch.cat(scales)


def _half_range(space: spaces.Space[Any]) -> Array:
    """`[D]`: half of what each number of a Box can be; 1 where it has no bounds."""
    assert isinstance(space, spaces.Box)  # for mypy: only these are standardised
    half = (space.high.astype(np.float64) - space.low).reshape(-1) / 2
    return np.where(np.isfinite(half) & (half > 0), half, 1.0)


def _typical(deviations: Array) -> float:
    """The geometric mean of deviations, which may be of different orders of magnitude; 0 of none."""
    return float(np.exp(np.log(deviations).mean())) if len(deviations) else 0.0
