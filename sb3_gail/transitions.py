"""The one batch type that adversaries see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class RowsLike(Protocol):
    """What a batch of rows must offer: an array does, and so does `Rows`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """`(B, ...)`."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The kind of numbers."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: Any, /) -> Any: ...
    def __array__(self) -> Array: ...


Observations = RowsLike | Mapping[str, RowsLike]


class Rows:
    """Rows of an array, gathered only when they are read.

    An expert's observation is the previous transition's next observation, so both columns can share one array: of
    images that halves the memory.

    Args:
        array: The rows to choose from, `[F, ...]`.
        index: Which of them, `[B]`.
    """

    def __init__(self, array: Array, index: npt.NDArray[np.intp]) -> None:
        self.array = array
        self.index = index

    @property
    def shape(self) -> tuple[int, ...]:
        """`(B, ...)`."""
        return (len(self.index), *self.array.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The kind of numbers of the shared array."""
        return self.array.dtype

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: Any) -> Array:
        rows: Array = self.array[self.index[index]]
        return rows

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("Rows are gathered into a new array: copy=False cannot be kept")
        return np.asarray(self.array[self.index], dtype=dtype)


def single_precision(rows: Array) -> Array:
    """The same rows with float64 cast to float32; other kinds of numbers stay as they are."""
    return rows.astype(np.float32) if rows.dtype == np.float64 else rows


def map_observations(function: Callable[..., Any], *observations: Any) -> Any:
    """Applies a function to arrays, or to the arrays under each key of dict observations."""
    if isinstance(observations[0], Mapping):
        return {key: function(*(part[key] for part in observations)) for key in observations[0]}
    return function(*observations)


@dataclass(frozen=True, eq=False)
class Transitions:
    """A batch of what crossed the reward wrapper, in the environment's own units.

    Attributes:
        observations: `[B, *obs]`, raw; a mapping of such for dict observations.
        actions: `[B, *act]`, as executed.
        next_observations: `[B, *obs]`, the true last one at an episode's end.
        terminated: `[B]` bool; false where a time limit ended the episode.
        log_prob: `[B]`, of the actions under the current policy, for adversaries that ask for it.

    Raises:
        ValueError: If the parts differ in length.
    """

    observations: Observations
    actions: RowsLike
    next_observations: Observations
    terminated: RowsLike
    log_prob: Array | None = None

    def __post_init__(self) -> None:
        lengths = {"actions": len(self.actions), "terminated": len(self.terminated)}
        for name, part in (("observations", self.observations), ("next_observations", self.next_observations)):
            if isinstance(part, Mapping):
                lengths.update({f"{name}[{key!r}]": len(rows) for key, rows in part.items()})
            else:
                lengths[name] = len(part)
        if self.log_prob is not None:
            lengths["log_prob"] = len(self.log_prob)
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the parts of a batch of transitions must have one length, got {lengths}")

    def __len__(self) -> int:
        return len(self.actions)

    def __getitem__(self, index: slice | Array) -> Transitions:
        """The transitions at an index `[b]` or slice."""

        def pick(rows: RowsLike) -> Any:
            return rows[index]

        return Transitions(
            observations=map_observations(pick, self.observations),
            actions=self.actions[index],
            next_observations=map_observations(pick, self.next_observations),
            terminated=self.terminated[index],
            log_prob=None if self.log_prob is None else self.log_prob[index],
        )

    @staticmethod
    def concatenate(batches: Sequence[Transitions]) -> Transitions:
        """One batch of several, in their order.

        Raises:
            ValueError: If there are none.
        """
        if not batches:
            raise ValueError("expected at least one batch of transitions to concatenate, got none")
        if len(batches) == 1:
            return batches[0]

        def join(*rows: RowsLike) -> Array:
            return np.concatenate([np.asarray(part) for part in rows])

        log_probs = [batch.log_prob for batch in batches]
        return Transitions(
            observations=map_observations(join, *(batch.observations for batch in batches)),
            actions=join(*(batch.actions for batch in batches)),
            next_observations=map_observations(join, *(batch.next_observations for batch in batches)),
            terminated=join(*(batch.terminated for batch in batches)),
            log_prob=None if any(part is None for part in log_probs) else np.concatenate(log_probs),  # type: ignore[arg-type]
        )

    def to_arrays(self) -> dict[str, Array]:
        """The batch as named arrays, for files; `observations.<key>` for dict observations."""
        arrays: dict[str, Array] = {"actions": np.asarray(self.actions), "terminated": np.asarray(self.terminated)}
        for name, part in (("observations", self.observations), ("next_observations", self.next_observations)):
            if isinstance(part, Mapping):
                arrays.update({f"{name}.{key}": np.asarray(rows) for key, rows in part.items()})
            else:
                arrays[name] = np.asarray(part)
        if self.log_prob is not None:
            arrays["log_prob"] = self.log_prob
        return arrays

    @staticmethod
    def from_arrays(arrays: Mapping[str, Array]) -> Transitions:
        """The batch that `to_arrays` took apart."""

        def part(name: str) -> Observations:
            if name in arrays:
                return arrays[name]
            prefix = f"{name}."
            return {key.removeprefix(prefix): rows for key, rows in arrays.items() if key.startswith(prefix)}

        return Transitions(
            observations=part("observations"),
            actions=arrays["actions"],
            next_observations=part("next_observations"),
            terminated=arrays["terminated"],
            log_prob=arrays.get("log_prob"),
        )
