"""Demonstrations: expert episodes in, transitions out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import Space
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from sb3_gail.episodes import Episode, Episodes
from sb3_gail.normalisation_evidence import evidence_of_normalisation
from sb3_gail.npz import read_npz, write_npz
from sb3_gail.raw_observations import raw_vec_env
from sb3_gail.rollouts import as_vec_env, episodes, isolated_randomness, policy_actor
from sb3_gail.spaces import (
    cast_rows,
    check_rows,
    check_same_range,
    infer_space,
    require_supported,
    space_from_json,
    space_to_json,
)
from sb3_gail.transitions import Array, Observations, Rows, Transitions, map_observations

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Demonstrations", "Episode"]

_ARRAYS = (
    "actions",
    "lengths",
    "terminated",
    "truncated",
    "rewards",
    "env_id",
    "observation_space",
    "action_space",
    "kept",
    "mean_return",
)
"""What a file may hold beside observations."""


@dataclass(frozen=True, eq=False, repr=False)
class Demonstrations:
    """Expert episodes, in the environment's own (raw) observations and executed actions.

    Made by `load`, `from_arrays`, `from_episodes` or `from_agent`. Immutable: `take`, `subsample` and `shuffled` return
    others, which share the arrays where they can.

        demonstrations = Demonstrations.load("hopper.npz").take(4).subsample(20)
        demonstrations.check_spaces(env.observation_space, env.action_space)

    Attributes:
        whole: The whole episodes that the transitions are part of.
        kept: `[K]`, the steps that are transitions, as rows of `whole.actions`, ascending.
        env_id: The Gymnasium id of the environment, where it is known.
        mean_return: The mean return of all episodes of the file or source, whatever part of them was taken: the
            expert's in a score. `None` without rewards.
        declared_observation_space: The observation space, if it was given or stored.
        declared_action_space: The action space, alike.
    """

    whole: Episodes
    kept: npt.NDArray[np.intp]
    env_id: str | None = None
    mean_return: float | None = None
    declared_observation_space: Space[Any] | None = None
    declared_action_space: Space[Any] | None = None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads an `.npz` file: that of `save`, or any with the arrays that `from_arrays` takes under their names.

        Dict observations are under `observations.<key>`. No environment is made.

        Raises:
            OSError: If the file cannot be opened.
            ValueError: If it is not such a file, or its contents do not fit together.
        """
        arrays = read_npz(path)
        try:
            return cls._from_file(arrays)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{os.fspath(path)!r}: {error}") from error

    @classmethod
    def from_arrays(
        cls,
        observations: Any,
        actions: Any,
        *,
        lengths: Any,
        terminated: Any = None,
        truncated: Any = None,
        rewards: Any = None,
        env_id: str | None = None,
        observation_space: Space[Any] | None = None,
        action_space: Space[Any] | None = None,
    ) -> Self:
        """Takes episodes that lie one after the other in one array each.

        Floats wider than float32 are cast to it once; other arrays are taken over, not copied.

        Args:
            observations: `[sum(T_i + 1), *obs]`, each episode's last one after its final step included; a mapping of
                such for dict observations.
            actions: `[sum(T_i), *act]`, as executed.
            lengths: `[N]`, the steps `T_i` of each episode.
            terminated: `[N]` bool, whether each episode reached a terminal state. Without it, the episodes that were
                not truncated; without that too, none: a terminal state is never made up.
            truncated: `[N]` bool, whether each episode was cut. Without it, the episodes that did not terminate.
            rewards: `[sum(T_i)]`, the environment's own, for evaluation only.
            env_id: The Gymnasium id of the environment.
            observation_space: The environment's. Without it, that of the environment that `env_id` names, else an
                unbounded `Box`.
            action_space: Alike; needed for integer actions if `env_id` is not given.

        Raises:
            ValueError: If there are no episodes, the lengths do not add up, values are NaN or infinite, or they do not
                fit the given spaces.
            TypeError: If the arrays do not hold numbers, or the spaces are none that SB3 supports.
        """
        episodes = Episodes.from_arrays(
            observations, actions, lengths=lengths, terminated=terminated, truncated=truncated, rewards=rewards
        )
        return cls._of(episodes, env_id, observation_space, action_space)

    @classmethod
    def from_episodes(
        cls,
        episodes: Iterable[Episode | Mapping[str, Any]],
        *,
        env_id: str | None = None,
        observation_space: Space[Any] | None = None,
        action_space: Space[Any] | None = None,
    ) -> Self:
        """Takes separate episodes, or mappings with the same fields; the rest as `from_arrays` does.

        A mapping may leave out `rewards`, and of `terminated` and `truncated` the one that is the other's opposite;
        without both the episode counts as truncated.
        """
        return cls._of(Episodes.join(episodes), env_id, observation_space, action_space)

    @classmethod
    def from_agent(
        cls,
        model: BaseAlgorithm,
        env: gym.Env[Any, Any] | VecEnv,
        n_episodes: int,
        *,
        deterministic: bool = False,
        seed: int | None = 0,
    ) -> Self:
        """Rolls an agent out, and records what it sees before `VecNormalize`, what it executes and the true rewards.

        The same number of episodes, give or take one, come from each of several parallel environments.

        Args:
            model: An SB3 or sb3-contrib algorithm; recurrent ones keep their state, and those that take action masks
                get them where the environment has them.
            env: A Gymnasium environment or a `VecEnv`, which is reset and not closed. Observations are normalised for
                the agent as its own `VecNormalize` does, else that around the model's; no statistics move.
            n_episodes: How many episodes.
            deterministic: Whether the agent takes its most likely actions; the paper's experts sample.
            seed: Of the environments' next reset and of the sampling; the global random numbers go on as if nothing had
                been. `None` seeds nothing.

        Raises:
            TypeError: If `model` is no algorithm, `env` no environment, `n_episodes` no integer, or the spaces are none
                that SB3 supports.
            ValueError: If `n_episodes` is less than 1, or the environment's spaces are not the model's.
        """
        if not isinstance(model, BaseAlgorithm):
            raise TypeError(f"model: expected an SB3 or sb3-contrib algorithm, got {type(model).__name__}")
        _check_integer("n_episodes", n_episodes)
        venv = as_vec_env(env)
        raw = raw_vec_env(venv)
        require_supported("the environment's observation space", raw.observation_space)
        require_supported("the environment's action space", raw.action_space)
        with isolated_randomness(seed):
            actor = policy_actor(model, venv, deterministic=deterministic)
            whole = Episodes.join(episodes(actor, venv, n_episodes, seed=seed))
        whole = replace(whole, actions=_as_executed(whole.actions, raw.action_space))
        return cls._of(whole, _env_id(raw), raw.observation_space, raw.action_space)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the whole episodes, which transitions are kept, and the spaces that were given or stored.

        Beside the arrays of `from_arrays`: `kept` (`[K]` rows of `actions`, if not all), `mean_return`, and
        `observation_space` and `action_space` as JSON. The file is written whole or not at all, to exactly this path.

        Raises:
            OSError: If it cannot be written.
        """
        whole = self.whole
        arrays: dict[str, Any] = {"actions": whole.actions, "lengths": whole.lengths}
        arrays |= {"terminated": whole.terminated, "truncated": whole.truncated}
        if isinstance(whole.observations, dict):
            arrays |= {f"observations.{key}": part for key, part in whole.observations.items()}
        else:
            arrays["observations"] = whole.observations
        if len(self.kept) < whole.n_steps:
            arrays["kept"] = self.kept
        optional = {"rewards": whole.rewards, "env_id": self.env_id, "mean_return": self.mean_return}
        declared = {"observation_space": self.declared_observation_space, "action_space": self.declared_action_space}
        optional |= {name: None if space is None else space_to_json(space) for name, space in declared.items()}
        arrays |= {name: value for name, value in optional.items() if value is not None}
        write_npz(path, {name: np.asarray(value) for name, value in arrays.items()})

    def take(self, n: int) -> Self:
        """The first n episodes.

        Raises:
            ValueError: If there are fewer, n is less than 1, or no transition of theirs is kept.
            TypeError: If n is no integer.
        """
        _check_integer("n", n)
        if not 1 <= n <= self.n_episodes:
            raise ValueError(f"n: expected 1 to {self.n_episodes}, the number of episodes, got {n}")
        whole = self.whole.first(n)
        kept = self.kept[self.kept < whole.n_steps]
        if not len(kept):
            raise ValueError(f"n: expected episodes of which transitions are kept, got {n} without any; take more")
        return replace(self, whole=whole, kept=kept)

    def subsample(self, every: int, seed: int | None = 0) -> Self:
        """Keeps every k-th transition of each episode, from a random offset, as the paper does.

        The offset is uniform over the first `every` transitions of an episode, or over all of a shorter one: each
        episode gives at least one transition. The first episodes' offsets do not depend on how many follow, so that
        `take` and `subsample` give the same in either order. Of subsampled demonstrations, every k-th kept transition.

        Args:
            every: One in how many transitions is kept.
            seed: Of the offsets; `None` draws others each time.

        Raises:
            ValueError: If `every` is less than 1.
            TypeError: If `every` is no integer.
        """
        _check_integer("every", every)
        if every < 1:
            raise ValueError(f"every: expected at least 1, got {every}")
        ends = np.searchsorted(self.kept, np.cumsum(self.whole.lengths))
        counts = np.diff(ends, prepend=0)
        offsets = np.random.default_rng(seed).random(self.n_episodes) * np.minimum(every, counts)
        parts = [
            self.kept[end - count + offset : end : every]
            for end, count, offset in zip(ends, counts, offsets.astype(np.intp), strict=True)
        ]
        return replace(self, kept=np.concatenate(parts))

    def shuffled(self, seed: int | None = 0) -> Self:
        """A control without information: every column of observations and actions is permuted by itself.

        A column is one number of the observation or action, over all observations or actions of all episodes. What is
        left is each column's marginal distribution, the lengths, how often episodes terminate, and `returns` and
        `mean_return`, which stay the source's. What an agent learns from these it did not learn from the expert.
        """
        rng = np.random.default_rng(seed)

        def permuted(rows: Array) -> Array:
            return rng.permuted(rows, axis=0)

        observations = map_observations(permuted, self.whole.observations)
        return replace(self, whole=replace(self.whole, observations=observations, actions=permuted(self.whole.actions)))

    def episodes(self) -> Iterator[Episode]:
        """Whole episodes, also of subsampled demonstrations; their arrays are views."""
        return iter(self.whole)

    def transitions(self) -> Transitions:
        """The kept transitions, the same batch each time.

        Observations and next observations share one array. `terminated` is true at an episode's last step alone, and
        only if it reached a terminal state there.
        """
        return self._transitions

    def check_spaces(self, observation_space: Space[Any], action_space: Space[Any]) -> None:
        """Checks that these could have come from an environment with such spaces.

        float32 fits float64. Bounds are those of integers and of actions, the latter but for float32's rounding.

        Raises:
            ValueError: At the first mismatch of keys, shape, kind of number or range.
            TypeError: If a space is none that SB3 supports.
        """
        for name, rows, declared, space in (
            ("observations", self.whole.observations, self.declared_observation_space, observation_space),
            ("actions", self.whole.actions, self.declared_action_space, action_space),
        ):
            require_supported(f"the space of the {name}", space)
            check_rows(name, rows, space, float_bounds=name == "actions")
            if declared is not None:
                check_same_range(name, declared, space)

    def evidence_of_normalisation(self, raw_policy_observations: Observations) -> str | None:
        """What speaks for these having been recorded behind `VecNormalize`, while the environment's are raw.

        Args:
            raw_policy_observations: `[B, *obs]`, a rollout's in the environment's own units.

        Returns:
            The evidence and what to do, as a sentence; `None` if there is none.
        """
        return evidence_of_normalisation(self.whole.observations, raw_policy_observations)

    @cached_property
    def observation_space(self) -> Space[Any]:
        """As given or stored, else that of the environment which the id names, else an unbounded `Box`.

        Raises:
            ValueError: If none of these is known, or the named environment's does not fit.
        """
        return self._space("observations", self.whole.observations, self.declared_observation_space, 0)

    @cached_property
    def action_space(self) -> Space[Any]:
        """As given or stored, else that of the environment which the id names, else an unbounded `Box`.

        Raises:
            ValueError: If none of these is known, as with integers, or the named environment's does not fit.
        """
        return self._space("actions", self.whole.actions, self.declared_action_space, 1)

    @property
    def n_episodes(self) -> int:
        """How many episodes there are."""
        return len(self.whole)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """`[N]`: the steps of each whole episode."""
        return self.whole.lengths

    @property
    def returns(self) -> npt.NDArray[np.float64] | None:
        """`[N]`: the sum of the environment's rewards over each whole episode; `None` without rewards."""
        return self.whole.returns

    @property
    def termination_rate(self) -> float:
        """Terminations per step, of the whole episodes."""
        return float(self.whole.terminated.sum()) / self.whole.n_steps

    def __len__(self) -> int:
        """How many transitions are kept."""
        return len(self.kept)

    def __repr__(self) -> str:
        parts = [] if self.env_id is None else [self.env_id]
        parts.append(f"{self.n_episodes} episodes")
        parts.append(f"{len(self)} of {self.whole.n_steps} transitions")
        parts.append(f"observations {_describe(self.whole.observations)}")
        parts.append(f"actions {_describe(self.whole.actions)}")
        parts.append("no rewards" if self.mean_return is None else f"mean return {self.mean_return:.6g}")
        return f"Demonstrations({', '.join(parts)})"

    def summary(self) -> dict[str, Any]:
        """What there is, in plain types: for a run's configuration and for logs."""
        return {
            "env_id": self.env_id,
            "n_episodes": self.n_episodes,
            "n_steps": self.whole.n_steps,
            "n_transitions": len(self),
            "n_terminated": int(self.whole.terminated.sum()),
            "mean_length": float(self.lengths.mean()),
            "mean_return": self.mean_return,
            "observations": _describe(self.whole.observations),
            "actions": _describe(self.whole.actions),
        }

    @classmethod
    def _of(
        cls,
        whole: Episodes,
        env_id: str | None,
        observation_space: Space[Any] | None,
        action_space: Space[Any] | None,
    ) -> Self:
        """Demonstrations of all steps, in the kinds of numbers of the spaces that are given."""
        if env_id is not None and not isinstance(env_id, str):
            raise TypeError(f"env_id: expected a string, got {env_id!r}")
        columns: dict[str, Any] = {"observations": whole.observations, "actions": whole.actions}
        for name, space in (("observations", observation_space), ("actions", action_space)):
            if space is not None:
                require_supported(f"{name.removesuffix('s')}_space", space)
                check_rows(name, columns[name], space, float_bounds=name == "actions")
                columns[name] = cast_rows(columns[name], space)
        return cls(
            whole=replace(whole, **columns),
            kept=np.arange(whole.n_steps),
            env_id=env_id,
            mean_return=None if whole.returns is None else float(whole.returns.mean()),
            declared_observation_space=observation_space,
            declared_action_space=action_space,
        )

    @classmethod
    def _from_file(cls, arrays: Mapping[str, Array]) -> Self:
        prefix = "observations."
        by_key = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        missing = {"actions", "lengths"} - arrays.keys()
        if missing or not (by_key or "observations" in arrays):
            wanted = "observations (or observations.<key>), actions and lengths"
            raise ValueError(f"expected the arrays {wanted}, got {sorted(arrays)}")
        known = {"observations", *(prefix + key for key in by_key), *_ARRAYS}
        unknown = sorted(arrays.keys() - known)
        if unknown:  # one that is misspelt is taken for one that is not there
            warnings.warn(
                f"expected no arrays but observations (or observations.<key>) and {', '.join(_ARRAYS)}, got {unknown} "
                f"as well, which nobody reads; how each of the episodes ended is called terminated, one value for each",
                stacklevel=3,
            )
        spaces = {name: _text(arrays, name) for name in ("observation_space", "action_space")}
        demonstrations = cls.from_arrays(
            by_key or arrays["observations"],
            arrays["actions"],
            lengths=arrays["lengths"],
            terminated=arrays.get("terminated"),
            truncated=arrays.get("truncated"),
            rewards=arrays.get("rewards"),
            env_id=_text(arrays, "env_id"),
            **{name: None if text is None else space_from_json(text) for name, text in spaces.items()},
        )
        if "kept" in arrays:
            kept = _check_kept(arrays["kept"], demonstrations.whole)
            demonstrations = replace(demonstrations, kept=kept)
        if "mean_return" in arrays:
            demonstrations = replace(demonstrations, mean_return=_mean_return(arrays["mean_return"]))
        return demonstrations

    @cached_property
    def _transitions(self) -> Transitions:
        whole, kept = self.whole, self.kept
        # Every episode before this one adds one more observation than it has actions.
        frames = kept + np.repeat(np.arange(self.n_episodes), whole.lengths)[kept]
        terminated = np.zeros(whole.n_steps, dtype=np.bool_)
        terminated[np.cumsum(whole.lengths) - 1] = whole.terminated
        return Transitions(
            observations=map_observations(lambda rows: Rows(rows, frames), whole.observations),
            actions=whole.actions if len(kept) == whole.n_steps else whole.actions[kept],
            next_observations=map_observations(lambda rows: Rows(rows, frames + 1), whole.observations),
            terminated=terminated[kept],
        )

    @cached_property
    def _named_spaces(self) -> tuple[Space[Any], Space[Any]] | None:
        return None if self.env_id is None else _spaces_of_id(self.env_id)

    def _space(self, name: str, rows: Any, declared: Space[Any] | None, index: int) -> Space[Any]:
        if declared is not None:
            return declared
        named = self._named_spaces
        if named is None:
            try:
                return infer_space(name, rows)
            except ValueError as error:
                because = "" if self.env_id is None else f"; {self.env_id!r}, which they name, cannot be made here"
                raise ValueError(f"{error}{because}") from error
        try:
            check_rows(name, rows, named[index], float_bounds=False)
        except ValueError as error:
            given = "observation_space" if name == "observations" else "action_space"
            raise ValueError(
                f"{error}; the space is that of {self.env_id}, which they name: give {given} if they were recorded "
                f"with wrappers that change it"
            ) from error
        return named[index]


def check_demonstrations(demonstrations: object) -> None:
    """Raises a `TypeError` unless these are `Demonstrations`."""
    if not isinstance(demonstrations, Demonstrations):
        raise TypeError(
            f"demonstrations must be Demonstrations, such as Demonstrations.load(path), got "
            f"{type(demonstrations).__name__}"
        )


def _spaces_of_id(env_id: str) -> tuple[Space[Any], Space[Any]] | None:
    """Observation and action space, unless it cannot be made here."""
    try:
        env = gym.make(env_id)
    except (gym.error.Error, ImportError, TypeError):  # the last of one that needs arguments
        return None
    try:
        return env.observation_space, env.action_space
    finally:
        env.close()


def _env_id(venv: VecEnv) -> str | None:
    try:
        spec = venv.get_attr("spec", 0)[0]
    except AttributeError:
        return None
    return None if spec is None else str(spec.id)


def _as_executed(actions: Array, space: Space[Any]) -> Array:
    """SB3 samples the bits of `MultiBinary` actions as floats."""
    whole_numbers = actions.dtype.kind == "f" and space.dtype is not None and space.dtype.kind in "iub"
    return actions.astype(space.dtype) if whole_numbers else actions


def _check_integer(name: str, value: Any) -> None:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise TypeError(f"{name}: expected an integer, got {value!r}")


def _text(arrays: Mapping[str, Array], name: str) -> str | None:
    if name not in arrays:
        return None
    if arrays[name].dtype.kind != "U" or arrays[name].ndim:
        raise ValueError(f"{name}: expected one string, got {arrays[name].dtype} values of shape {arrays[name].shape}")
    return str(arrays[name])


def _check_kept(kept: Array, whole: Episodes) -> npt.NDArray[np.intp]:
    valid = kept.dtype.kind in "iu" and kept.ndim == 1 and kept.size > 0
    if not valid or kept.min() < 0 or kept.max() >= whole.n_steps or (np.diff(kept) <= 0).any():
        raise ValueError(f"kept: expected ascending rows of the {whole.n_steps} actions, got {kept}")
    return kept.astype(np.intp, copy=False)


def _mean_return(value: Array) -> float:
    if value.ndim or value.dtype.kind not in "iuf" or not np.isfinite(value):
        raise ValueError(f"mean_return: expected one finite number, got {value}")
    return float(value)


def _describe(rows: Array | Mapping[str, Array]) -> Any:
    if isinstance(rows, Mapping):
        return {key: _describe(part) for key, part in rows.items()}
    return f"{rows.dtype}{list(rows.shape[1:])}"
