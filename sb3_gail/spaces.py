"""Gymnasium spaces: as text, inferred from arrays, and checked against arrays."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import Space, spaces

from sb3_gail.transitions import Array, Observations

_ELEMENTARY = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)

# Of the largest bound: some roundings of float32, which is what files and policies hold.
_RELATIVE_SLACK = 1e-6


def require_supported(name: str, space: Any) -> None:
    """Checks that a space is one that SB3 learns from.

    Raises:
        TypeError: If it is not a `Box`, `Discrete`, `MultiDiscrete`, `MultiBinary`, or a `Dict` of those.
        ValueError: If its numbers begin elsewhere than at 0: SB3's policies and networks count from there.
    """
    parts = space.spaces.values() if isinstance(space, spaces.Dict) else [space]
    for part in parts:
        if not isinstance(part, _ELEMENTARY):
            raise TypeError(
                f"{name}: expected a Box, Discrete, MultiDiscrete, MultiBinary or a Dict of those, got {space!r}"
            )
        if np.any(getattr(part, "start", 0)):
            raise ValueError(
                f"{name}: expected numbers that begin at 0, as SB3's policies have them, got {space!r}: shift them, in "
                f"the environment and in the demonstrations"
            )


def storage_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """The kind of numbers that arrays of a kind are kept in: its own, but float32 in place of wider floats.

    Their bytes are in the machine's order, since torch knows no other.
    """
    kept = np.dtype(dtype).newbyteorder("=")
    return np.dtype(np.float32) if kept.kind == "f" and kept.itemsize > 4 else kept


def single_precision_space(space: Space[Any]) -> Space[Any]:
    """The same space, but a `Box` of wider floats in float32: equal for spaces that differ in nothing else."""
    if isinstance(space, spaces.Dict):
        return spaces.Dict(OrderedDict((key, single_precision_space(part)) for key, part in space.items()))
    if not isinstance(space, spaces.Box) or storage_dtype(space.dtype) == space.dtype:
        return space
    with np.errstate(over="ignore"):  # a bound beyond float32 is none
        return spaces.Box(space.low.astype(np.float32), space.high.astype(np.float32), dtype=np.float32)


def cast_rows(rows: Observations, space: Space[Any]) -> Any:
    """Rows `[B, *shape]` that fit a space, in the space's own width of integers."""
    if isinstance(rows, Mapping):
        return {key: cast_rows(part, space[key]) for key, part in rows.items()}  # type: ignore[index]
    array = np.asarray(rows)
    return array if array.dtype.kind == "f" else array.astype(space.dtype, copy=False)


def infer_space(name: str, rows: Observations) -> Space[Any]:
    """The widest space that rows `[B, *shape]` can come from: an unbounded `Box` of floats, 0 to 255 of uint8.

    Raises:
        ValueError: If the rows are other integers, which do not tell how many values there are.
    """
    if isinstance(rows, Mapping):
        return spaces.Dict(OrderedDict((key, infer_space(f"{name}[{key!r}]", part)) for key, part in rows.items()))
    shape, dtype = tuple(rows.shape[1:]), rows.dtype
    if dtype.kind == "f":
        return spaces.Box(-np.inf, np.inf, shape, dtype.type)
    if dtype == np.uint8 and shape:
        return spaces.Box(0, 255, shape, np.uint8)
    raise ValueError(
        f"the space of the {name} cannot be inferred from {dtype} values: pass it, "
        f"for instance {name.split('[')[0].removesuffix('s')}_space=gymnasium.spaces.Discrete(n)"
    )


def check_rows(name: str, rows: Observations, space: Space[Any], *, float_bounds: bool) -> None:
    """Checks that rows `[B, *shape]` can come from a space.

    float32 fits float64, and any width of integers another, as long as the values do.

    Args:
        name: What messages call the rows.
        rows: The rows, or a mapping of such.
        space: The space.
        float_bounds: Whether to check the bounds of floats too. Environments leave the bounds that they declare for
            observations now and then; bounds of integers are always checked.

    Raises:
        ValueError: At the first mismatch of keys, shape, kind of number or range.
    """
    if isinstance(rows, Mapping) or isinstance(space, spaces.Dict):
        _check_keys(name, rows, space)
        for key, part in space.items():  # type: ignore[attr-defined]
            check_rows(f"{name}[{key!r}]", rows[key], part, float_bounds=float_bounds)
        return
    _check_shape(name, tuple(rows.shape[1:]), space)
    if _kind(rows.dtype) != _kind(space.dtype):
        raise ValueError(
            f"{name}: expected {_kind(space.dtype)} numbers, as {space} has, got {rows.dtype}: "
            "record them in this environment, or convert them if they mean the same"
        )
    if float_bounds or _kind(rows.dtype) == "integer":
        _check_bounds(name, np.asarray(rows), space)


def check_same_range(name: str, declared: Space[Any], space: Space[Any]) -> None:
    """Checks that a declared discrete space has the range of another; bounds of `Box` may differ.

    Raises:
        ValueError: If they are of different types or, other than `Box`, of different ranges.
    """
    if isinstance(declared, spaces.Dict) and isinstance(space, spaces.Dict):
        for key in declared.spaces.keys() & space.spaces.keys():
            check_same_range(f"{name}[{key!r}]", declared[key], space[key])
        return
    same = _type_name(declared) == _type_name(space)
    if same and not isinstance(space, spaces.Box):
        same = all(np.array_equal(ours, theirs) for ours, theirs in zip(_limits(declared), _limits(space), strict=True))
    if not same:
        raise ValueError(f"{name}: expected the space {space}, got {declared}: use demonstrations of this environment")


def space_to_json(space: Space[Any]) -> str:
    """A supported space as text; infinite bounds as Python's `json` writes them."""
    return json.dumps(_to_plain(space))


def space_from_json(text: str) -> Space[Any]:
    """The space that `space_to_json` wrote.

    Raises:
        ValueError: If it wrote no such text.
    """
    try:
        return _from_plain(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, AssertionError, OverflowError) as error:
        raise ValueError(f"expected a space as sb3_gail writes it, got {text[:200]!r} ({error!r})") from error


def _type_name(space: Space[Any]) -> str:
    """Gymnasium's name of it; a subclass has that of the class that it is of."""
    return next((kind.__name__ for kind in (*_ELEMENTARY, spaces.Dict) if isinstance(space, kind)), repr(space))


def _kind(dtype: np.dtype[Any] | None) -> str:
    return "float" if np.dtype(dtype).kind == "f" else "integer"


def _check_keys(name: str, rows: Observations, space: Space[Any]) -> None:
    if not isinstance(space, spaces.Dict):
        raise ValueError(f"{name}: expected one array, as {space} has, got a dict of several")
    if not isinstance(rows, Mapping):
        raise ValueError(f"{name}: expected a dict with the keys {sorted(space.spaces)}, got one array")
    if rows.keys() != space.spaces.keys():
        raise ValueError(f"{name}: expected the keys {sorted(space.spaces)}, got {sorted(rows)}")


def _check_shape(name: str, shape: tuple[int, ...], space: Space[Any]) -> None:
    expected = space.shape
    if shape == expected:
        return
    advice = "use demonstrations of this environment, with the same wrappers"
    if expected == (*shape, 1):
        advice = f"these lack the last axis: give {name}[..., None]"
    elif shape == (*(expected or ()), 1):
        advice = f"these have one axis more: give {name}[..., 0]"
    elif expected is not None and len(shape) == 3 and sorted(shape) == sorted(expected):
        advice = "these look like the same images with the channels elsewhere: move the axis (numpy.moveaxis)"
    raise ValueError(f"{name}: expected the shape {expected} of {space}, got {shape}: {advice}")


def _check_bounds(name: str, rows: Array, space: Space[Any]) -> None:
    low, high = _limits(space)
    if rows.dtype.kind == "f":
        slack = _RELATIVE_SLACK * np.maximum(*(np.where(np.isfinite(bound), np.abs(bound), 0) for bound in (low, high)))
        low, high = low - slack, high + slack
    # Whole columns first: rows of images are not compared one by one unless one is wrong.
    if (rows.min(axis=0) >= low).all() and (rows.max(axis=0) <= high).all():
        return
    row, *feature = (int(i) for i in np.argwhere((rows < low) | (rows > high))[0])
    where = f"row {row}" + (f", index {tuple(feature)}" if feature else "")
    low, high = (np.broadcast_to(bound, rows.shape[1:])[tuple(feature)] for bound in _limits(space))
    raise ValueError(
        f"{name}: expected values from {low} to {high}, as {space} has, got {rows[(row, *feature)]} at {where}: "
        "use demonstrations of this environment, in its own units"
    )


def _limits(space: Space[Any]) -> tuple[Any, Any]:
    """The smallest and largest values, broadcastable to the space's shape."""
    if isinstance(space, spaces.Box):
        return space.low, space.high
    if isinstance(space, spaces.Discrete):
        return space.start, space.start + space.n - 1
    if isinstance(space, spaces.MultiDiscrete):
        return space.start, space.start + space.nvec - 1
    return np.zeros(space.shape or (), np.int8), np.ones(space.shape or (), np.int8)


def _to_plain(space: Space[Any]) -> dict[str, Any]:
    if isinstance(space, spaces.Dict):
        return {"type": "Dict", "spaces": {key: _to_plain(part) for key, part in space.items()}}
    plain: dict[str, Any] = {"type": _type_name(space), "shape": list(space.shape or ()), "dtype": str(space.dtype)}
    if isinstance(space, spaces.Box):
        return {**plain, "low": _shortest(space.low), "high": _shortest(space.high)}
    if isinstance(space, spaces.Discrete):
        return {**plain, "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete):
        return {**plain, "nvec": space.nvec.tolist(), "start": np.asarray(space.start).tolist()}
    return plain


def _from_plain(plain: Mapping[str, Any]) -> Space[Any]:
    kind = plain["type"]
    if kind == "Dict":
        return spaces.Dict(OrderedDict((key, _from_plain(part)) for key, part in plain["spaces"].items()))
    shape, dtype = tuple(plain["shape"]), np.dtype(plain["dtype"]).type
    if kind == "Box":
        low, high = (np.broadcast_to(np.asarray(plain[bound], dtype), shape) for bound in ("low", "high"))
        return spaces.Box(low, high, shape, dtype)
    if kind == "Discrete":
        settings = {} if dtype is np.int64 else {"dtype": dtype}  # which older Gymnasiums do not take
        return spaces.Discrete(plain["n"], start=plain["start"], **settings)
    if kind == "MultiDiscrete":
        return spaces.MultiDiscrete(np.asarray(plain["nvec"]), dtype=dtype, start=np.asarray(plain["start"]))
    if kind == "MultiBinary":
        return spaces.MultiBinary(shape[0] if len(shape) == 1 else shape)
    raise ValueError(f"unknown type {kind!r}")


def _shortest(bound: Array) -> Any:
    """One number where all are the same, as they are for images."""
    return bound.flat[0].item() if bound.size and (bound == bound.flat[0]).all() else bound.tolist()
