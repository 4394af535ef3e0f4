"""Recorded episodes: one, and many laid end to end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sb3_gail.spaces import storage_dtype
from sb3_gail.transitions import Array, map_observations

ArrayOrDict = Array | Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode, from its reset to its last step.

    Attributes:
        observations: `[T + 1, *obs]`, the one after the last step included; a mapping of such for dict observations.
        actions: `[T, *act]`, as executed.
        rewards: `[T]`, the environment's; `None` where they are not known.
        terminated: Whether it reached a terminal state.
        truncated: Whether a limit outside the task, such as one of time, cut it.
    """

    observations: ArrayOrDict
    actions: Array
    rewards: Array | None
    terminated: bool
    truncated: bool

    def __len__(self) -> int:
        return len(self.actions)


@dataclass(frozen=True, eq=False)
class Episodes:
    """Whole episodes, one after the other in one array each.

    Attributes:
        observations: `[sum(T_i + 1), *obs]`, or a dict of such.
        actions: `[sum(T_i), *act]`.
        lengths: `[N]` int64, the steps `T_i`.
        terminated: `[N]` bool.
        truncated: `[N]` bool.
        rewards: `[sum(T_i)]` float64, or `None`.

    Raises:
        ValueError: If there are no episodes, the parts do not add up, or values are NaN or infinite.
    """

    observations: Array | dict[str, Array]
    actions: Array
    lengths: npt.NDArray[np.int64]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    rewards: npt.NDArray[np.float64] | None

    def __post_init__(self) -> None:
        self._check_lengths()
        for name, array in self._columns().items():
            per_episode = self.lengths + 1 if name.startswith("observations") else self.lengths
            _check_finite(name, array, per_episode)

    @staticmethod
    def from_arrays(
        observations: Any,
        actions: Any,
        *,
        lengths: Any,
        terminated: Any = None,
        truncated: Any = None,
        rewards: Any = None,
    ) -> Episodes:
        """Takes arrays over in the kinds of numbers that are kept, without a copy where they have it.

        An ending that is not given is the opposite of the other; if neither is, all episodes count as truncated.
        """
        lengths = _numbers("lengths", lengths, "iu").astype(np.int64, copy=False)
        if lengths.ndim != 1:
            raise ValueError(f"lengths: expected one number an episode, [N], got the shape {lengths.shape}")
        if truncated is not None:
            truncated = _numbers("truncated", truncated, "b").astype(np.bool_, copy=False)
        if terminated is not None:
            terminated = _numbers("terminated", terminated, "b").astype(np.bool_, copy=False)
        terminated, truncated = _both_ends(terminated, truncated, unknown=np.zeros(len(lengths), np.bool_))
        if isinstance(observations, Mapping):
            if not observations:
                raise ValueError("observations: expected an array or a dict of arrays, got an empty dict")
            observations = {key: _stored(f"observations[{key!r}]", part) for key, part in observations.items()}
        else:
            observations = _stored("observations", observations)
        return Episodes(
            observations=observations,
            actions=_stored("actions", actions),
            lengths=lengths,
            terminated=terminated,
            truncated=truncated,
            rewards=None if rewards is None else _numbers("rewards", rewards).astype(np.float64, copy=False),
        )

    @staticmethod
    def join(episodes: Iterable[Episode | Mapping[str, Any]]) -> Episodes:
        """Lays episodes end to end."""
        if isinstance(episodes, Mapping):
            raise TypeError(f"expected a list of episodes, got one mapping with the keys {list(episodes)}")
        parts = [_as_episode(i, episode) for i, episode in enumerate(episodes)]
        if not parts:
            raise ValueError("expected at least one episode, got none")
        unrewarded = [i for i, part in enumerate(parts) if part.rewards is None]
        if 0 < len(unrewarded) < len(parts):
            raise ValueError(f"expected rewards in all episodes or in none, got none in episode {unrewarded[0]}")
        for i, part in enumerate(parts):
            _check_like_first(i, part, parts[0])
        return Episodes.from_arrays(
            map_observations(_end_to_end, *(part.observations for part in parts)),
            _end_to_end(*(part.actions for part in parts)),
            lengths=[len(part) for part in parts],
            terminated=[_flag(f"episode {i}, terminated", part.terminated) for i, part in enumerate(parts)],
            truncated=[_flag(f"episode {i}, truncated", part.truncated) for i, part in enumerate(parts)],
            rewards=None if unrewarded else np.concatenate([np.asarray(part.rewards) for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[Episode]:
        """Each episode, its arrays views."""
        for i, (step, length) in enumerate(zip(self.first_steps, self.lengths, strict=True)):
            steps, frames = slice(step, step + length), slice(step + i, step + i + length + 1)
            yield Episode(
                observations=map_observations(lambda rows, frames=frames: rows[frames], self.observations),
                actions=self.actions[steps],
                rewards=None if self.rewards is None else self.rewards[steps],
                terminated=bool(self.terminated[i]),
                truncated=bool(self.truncated[i]),
            )

    @property
    def first_steps(self) -> npt.NDArray[np.int64]:
        """`[N]`: the row of each episode's first action; its first observation is one row later per episode before."""
        return np.cumsum(self.lengths) - self.lengths

    @property
    def n_steps(self) -> int:
        """The steps of all episodes."""
        return int(self.lengths.sum())

    @property
    def returns(self) -> npt.NDArray[np.float64] | None:
        """`[N]`: the sum of each episode's rewards."""
        return None if self.rewards is None else np.add.reduceat(self.rewards, self.first_steps)

    def first(self, n: int) -> Episodes:
        """The first n episodes, their arrays views."""
        steps = int(self.lengths[:n].sum())
        return Episodes(
            observations=map_observations(lambda rows: rows[: steps + n], self.observations),
            actions=self.actions[:steps],
            lengths=self.lengths[:n],
            terminated=self.terminated[:n],
            truncated=self.truncated[:n],
            rewards=None if self.rewards is None else self.rewards[:steps],
        )

    def _columns(self) -> dict[str, Array]:
        columns = {**_named(self.observations), "actions": self.actions}
        return columns if self.rewards is None else {**columns, "rewards": self.rewards}

    def _advice_on_rows(self, array: Array) -> str:
        if array.ndim > 1 and len(array) == len(self):
            return ": lay the episodes end to end (numpy.concatenate)"
        if self.actions.shape[:1] == (self.n_steps - len(self),):
            return ": lengths count actions, of which an episode has one less than observations"
        return ""

    def _check_lengths(self) -> None:
        n, steps = len(self), self.n_steps
        if n == 0:
            raise ValueError("expected at least one episode, got empty lengths")
        if self.lengths.min() < 1:
            short = int(self.lengths.argmin())
            raise ValueError(
                f"lengths: expected at least one step an episode, got {self.lengths[short]} in episode {short}"
            )
        for name, array in self._columns().items():
            is_observations = name.startswith("observations")
            expected = steps + n if is_observations else steps
            if array.ndim == 0 or len(array) != expected or (name == "rewards" and array.ndim != 1):
                rows = "sum(T_i + 1), each episode's last observation included" if is_observations else "sum(T_i)"
                raise ValueError(
                    f"{name}: expected {expected} rows ({rows}) as the lengths of {n} episodes add up to, "
                    f"got the shape {array.shape}{self._advice_on_rows(array)}"
                )
        for name, ends in (("terminated", self.terminated), ("truncated", self.truncated)):
            if ends.shape != (n,):
                raise ValueError(f"{name}: expected one value for each of the {n} episodes, got the shape {ends.shape}")


_SEPARATE = "; if these are separate episodes, Demonstrations.from_episodes takes them"


def _numbers(name: str, values: Any, kinds: str = "biuf", advice: str = "") -> Array:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name}: expected one array with rows of one shape, got unequal parts{advice}") from error
    if array.size and array.dtype.kind not in kinds:
        wanted = {"b": "booleans", "iu": "integers"}.get(kinds, "numbers")
        raise TypeError(f"{name}: expected {wanted}, got {array.dtype} values{advice}")
    return array


def _rows(name: str, values: Any) -> Array:
    array = _numbers(name, values)
    if array.ndim == 0:
        raise ValueError(f"{name}: expected one row a step, got the single value {values!r}")
    return array


def _stored(name: str, values: Any) -> Array:
    array = _numbers(name, values, advice=_SEPARATE)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as such
        return array.astype(storage_dtype(array.dtype), copy=False)


def _named(observations: ArrayOrDict) -> dict[str, Array]:
    if isinstance(observations, Mapping):
        return {f"observations[{key!r}]": part for key, part in observations.items()}
    return {"observations": observations}


def _check_finite(name: str, array: Array, rows_per_episode: npt.NDArray[np.int64]) -> None:
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return
    row, *feature = (int(i) for i in np.argwhere(~np.isfinite(array))[0])
    ends = np.cumsum(rows_per_episode)
    episode = int(np.searchsorted(ends, row, side="right"))
    step = row - int(ends[episode] - rows_per_episode[episode])
    where = f"episode {episode}, step {step}" + (f", index {tuple(feature)}" if feature else "")
    raise ValueError(
        f"{name}: expected finite values, got {array[(row, *feature)]} at {where} (row {row}): leave this episode out"
    )


def _as_episode(i: int, episode: Any) -> Episode:
    if isinstance(episode, Mapping):
        try:
            ends = [
                None if episode.get(name) is None else _flag(f"episode {i}, {name}", episode[name])
                for name in ("terminated", "truncated")
            ]
            terminated, truncated = _both_ends(*ends, unknown=np.False_)
            episode = Episode(**{"rewards": None, **episode, "terminated": terminated, "truncated": truncated})
        except TypeError as error:
            raise ValueError(
                f"episode {i}: expected the keys observations, actions and, if known, rewards, terminated and "
                f"truncated, got {list(episode)}"
            ) from error
    if not isinstance(episode, Episode):
        raise TypeError(f"episode {i}: expected an Episode or a mapping with its fields, got {type(episode).__name__}")
    observations: Any = episode.observations
    if isinstance(observations, Mapping):
        for key, part in observations.items():
            if isinstance(part, Mapping):
                raise TypeError(f"episode {i}: expected one array of each observation, got a dict of them in {key!r}")
        observations = {key: _rows(f"episode {i}, observations[{key!r}]", part) for key, part in observations.items()}
    else:
        observations = _rows(f"episode {i}, observations", observations)
    return replace(episode, observations=observations, actions=_rows(f"episode {i}, actions", episode.actions))


def _both_ends(terminated: Any, truncated: Any, *, unknown: Any) -> tuple[Any, Any]:
    """An ending that is not given is the opposite of the other; if neither is, what terminated is `unknown`."""
    if terminated is None:
        terminated = unknown if truncated is None else ~truncated
    return terminated, ~terminated if truncated is None else truncated


def _flag(name: str, value: Any) -> np.bool_:
    """How an episode ended; a list of each step's flags would be true whatever it holds."""
    flag = np.asarray(value)
    if flag.dtype != np.bool_ or flag.ndim:
        raise ValueError(f"{name}: expected one bool, how its last step ended, got {value!r}")
    return np.bool_(flag)


def _check_like_first(i: int, episode: Episode, first: Episode) -> None:
    steps = len(episode)
    parts, expected = _named(episode.observations), _named(first.observations)
    if parts.keys() != expected.keys():
        raise ValueError(f"episode {i}: expected {sorted(expected)} as in the first episode, got {sorted(parts)}")
    for name, rows in parts.items():
        if len(rows) != steps + 1:
            raise ValueError(
                f"episode {i}, {name}: expected {steps + 1} rows for {steps} actions, the one after the last step "
                f"included, got {len(rows)}"
            )
    if episode.rewards is not None and np.shape(episode.rewards) != (steps,):
        raise ValueError(
            f"episode {i}, rewards: expected one for each of {steps} actions, got the shape {np.shape(episode.rewards)}"
        )
    parts, expected = {**parts, "actions": episode.actions}, {**expected, "actions": first.actions}
    for name, rows in parts.items():
        if np.shape(rows)[1:] != np.shape(expected[name])[1:]:
            raise ValueError(
                f"episode {i}, {name}: expected rows of the shape {np.shape(expected[name])[1:]} as in the first "
                f"episode, got {np.shape(rows)[1:]}"
            )


def _end_to_end(*parts: Any) -> Array:
    arrays = [np.asarray(part) for part in parts]
    with np.errstate(over="ignore"):
        return np.concatenate(arrays, dtype=storage_dtype(np.result_type(*arrays)))
