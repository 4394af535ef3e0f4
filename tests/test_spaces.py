"""Spaces as text, inferred, and against arrays."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from sb3_gail.spaces import (
    cast_rows,
    check_rows,
    check_same_range,
    infer_space,
    require_supported,
    single_precision_space,
    space_from_json,
    space_to_json,
    storage_dtype,
)
from sb3_gail.transitions import RowsLike

IMAGE = spaces.Box(0, 255, (4, 5, 3), np.uint8)
ELEMENTARY: list[spaces.Space[Any]] = [
    spaces.Box(-np.inf, np.inf, (3,), np.float64),
    spaces.Box(np.array([-0.1, -np.inf], np.float32), np.array([0.3, np.inf], np.float32)),
    spaces.Box(-1, 1, (), np.float32),
    IMAGE,
    spaces.Discrete(4),
    spaces.Discrete(3, start=-1),
    spaces.MultiDiscrete([2, 5]),
    spaces.MultiDiscrete(np.array([[2, 3], [4, 5]]), dtype=np.int32),
    spaces.MultiBinary(3),
    spaces.MultiBinary([2, 3]),
]
KEYED = spaces.Dict(OrderedDict([("z", ELEMENTARY[0]), ("image", IMAGE), ("a", spaces.Discrete(2))]))


@pytest.mark.parametrize("space", [*ELEMENTARY, KEYED], ids=str)
def test_text_gives_the_same_space(space: spaces.Space[Any]) -> None:
    read = space_from_json(space_to_json(space))
    assert read == space
    if not isinstance(space, spaces.Dict):
        assert (read.dtype, read.shape) == (space.dtype, space.shape)
    else:
        assert list(read.spaces) == list(space.spaces)  # type: ignore[attr-defined]


class Bounded(spaces.Box):
    """Somebody's own kind of box."""


def test_a_subclass_is_written_and_compared_as_what_it_is() -> None:
    own, plain = Bounded(-1, 1, (2,)), spaces.Box(-1, 1, (2,))
    assert space_from_json(space_to_json(own)) == plain
    check_same_range("actions", plain, own)
    with pytest.raises(ValueError, match="expected the space"):
        check_same_range("actions", spaces.Discrete(2), own)


def test_the_text_of_an_image_space_is_short() -> None:
    assert len(space_to_json(spaces.Box(0, 255, (210, 160, 3), np.uint8))) < 100


@pytest.mark.parametrize(
    "text",
    ["", "[]", "3", '{"type": "Graph"}', '{"type": "Tuple", "shape": [], "dtype": "int64"}']
    + [json.dumps({**json.loads(space_to_json(IMAGE)), **change}) for change in ({"dtype": "O"}, {"shape": ["x"]})]
    + [json.dumps({"type": "Discrete", "shape": [], "dtype": "int64", "n": -1, "start": 0})],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a space as sb3_gail writes it"):
        space_from_json(text)


@pytest.mark.parametrize("space", [*ELEMENTARY, KEYED], ids=str)
def test_samples_fit_their_own_space(space: spaces.Space[Any]) -> None:
    samples = [space.sample() for _ in range(20)]
    rows: Any
    if isinstance(space, spaces.Dict):
        rows = {key: np.stack([sample[key] for sample in samples]) for key in space.spaces}
    else:
        rows = np.stack(samples)
    check_rows("observations", rows, space, float_bounds=True)


@pytest.mark.parametrize(
    ("kept", "given"),
    [
        ("float32", "float64"),
        ("float32", "float32"),
        ("float16", "float16"),
        ("uint8", "uint8"),
        ("int64", "int64"),
        ("bool", "bool"),
        ("=f4", ">f4"),
        ("=f4", ">f8"),
        ("=i4", ">i4"),
    ],
)
def test_numbers_are_kept_as_their_own_kind(kept: str, given: str) -> None:
    assert storage_dtype(given) == np.dtype(kept)


def test_rows_take_the_width_of_the_spaces_integers_and_keep_floats() -> None:
    assert cast_rows(np.zeros((2, 4, 5, 3), np.int64), IMAGE).dtype == np.uint8
    assert cast_rows(np.ones((2, 3), bool), spaces.MultiBinary(3)).dtype == np.int8
    floats = np.zeros((2, 3), np.float32)
    assert cast_rows(floats, ELEMENTARY[0]) is floats
    assert cast_rows({"a": np.zeros(2, np.uint8)}, spaces.Dict(a=spaces.Discrete(2)))["a"].dtype == np.int64


def test_inferred_spaces_promise_nothing() -> None:
    rows: dict[str, RowsLike] = {"vector": np.zeros((9, 3), np.float32), "image": np.zeros((9, 4, 5, 3), np.uint8)}
    space = infer_space("observations", rows)
    assert space == spaces.Dict(vector=spaces.Box(-np.inf, np.inf, (3,), np.float32), image=IMAGE)
    with pytest.raises(ValueError, match=r"actions cannot be inferred from int64.*action_space=gymnasium"):
        infer_space("actions", np.zeros(9, np.int64))
    with pytest.raises(ValueError, match=r"observations\['k'\] cannot be inferred.*observation_space=gymnasium"):
        infer_space("observations", {"k": np.zeros(9, np.uint8)})


BOX = spaces.Box(-1, 1, (3,), np.float64)


@pytest.mark.parametrize(
    ("rows", "space", "message"),
    [
        (np.zeros((5, 2), np.float32), BOX, r"expected the shape \(3,\) of .*, got \(2,\)"),
        (np.zeros((5, 3, 4, 5), np.uint8), IMAGE, r"\(4, 5, 3\).*\(3, 4, 5\): .*channels elsewhere"),
        (np.zeros((5, 1), np.int64), spaces.Discrete(2), r"expected the shape \(\).*got \(1,\): .*\[\.\.\., 0\]"),
        (np.zeros(5), spaces.Box(-1, 1, (1,)), r"expected the shape \(1,\).*got \(\): .*\[\.\.\., None\]"),
        (np.zeros((5, 4, 5, 3), np.float32), IMAGE, r"expected integer numbers, .*got float32"),
        (np.zeros((5, 3), np.uint8), BOX, r"expected float numbers, .*got uint8"),
        (np.full((5, 4, 5, 3), 256), IMAGE, r"from 0 to 255, .*got 256 at row 0, index \(0, 0, 0\)"),
        (np.array([0, 1, 2]), spaces.Discrete(2), r"from 0 to 1, .*got 2 at row 2"),
        (np.array([0, -2]), spaces.Discrete(2, start=-1), r"from -1 to 0, .*got -2 at row 1"),
        (np.array([[0, 4], [1, 5]]), spaces.MultiDiscrete([2, 5]), r"from 0 to 4, .*got 5 at row 1, index \(1,\)"),
        (np.array([[0, 2]]), spaces.MultiBinary(2), r"from 0 to 1, .*got 2 at row 0, index \(1,\)"),
        ({"a": np.zeros(2)}, BOX, "expected one array, .*got a dict"),
        (np.zeros(2), KEYED, r"expected a dict with the keys \['a', 'image', 'z'\], got one array"),
        ({"a": np.zeros(2)}, KEYED, r"expected the keys \['a', 'image', 'z'\], got \['a'\]"),
        (
            {"z": np.zeros((2, 3)), "image": np.zeros((2, 4, 5, 3), np.uint8), "a": np.array([0, 2])},
            KEYED,
            r"rows\['a'\]: expected values from 0 to 1, .*got 2 at row 1",
        ),
    ],
)
def test_the_first_mismatch_is_named(rows: Any, space: spaces.Space[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_rows("rows", rows, space, float_bounds=True)


def test_float_bounds_leave_room_for_rounding_alone() -> None:
    space = spaces.Box(-0.4, 0.4, (2,), np.float64)
    rows = np.zeros((4, 2), np.float32)
    rows[1, 1] = 0.4  # 0.4000000059 in float32
    assert np.float64(rows[1, 1]) > space.high[1]
    check_rows("actions", rows, space, float_bounds=True)
    rows[1, 1] = 0.4001
    with pytest.raises(ValueError, match=r"from -0\.4 to 0\.4, .*got 0\.4000\d* at row 1, index \(1,\)"):
        check_rows("actions", rows, space, float_bounds=True)
    check_rows("observations", rows, space, float_bounds=False)


def test_declared_ranges() -> None:
    check_same_range("observations", BOX, spaces.Box(-9, 9, (3,)))
    check_same_range("actions", spaces.Discrete(2), spaces.Discrete(2))
    for declared, space in (
        (spaces.Discrete(3), spaces.Discrete(2)),
        (spaces.Discrete(2, start=1), spaces.Discrete(2)),
        (spaces.MultiDiscrete([2, 2]), spaces.MultiDiscrete([2, 3])),
        (spaces.MultiBinary(2), spaces.MultiDiscrete([2, 2])),
        (spaces.Dict(a=spaces.Discrete(3)), spaces.Dict(a=spaces.Discrete(2))),
    ):
        with pytest.raises(ValueError, match=r"actions.*: expected the space .*, got "):
            check_same_range("actions", declared, space)


@pytest.mark.parametrize(
    "space", [None, "Box", spaces.Tuple([IMAGE]), spaces.Dict(a=spaces.Dict(b=IMAGE)), spaces.Text(3)], ids=str
)
def test_unsupported_spaces(space: Any) -> None:
    with pytest.raises(TypeError, match="action_space: expected a Box, Discrete"):
        require_supported("action_space", space)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3, start=1),
        spaces.MultiDiscrete([2, 2], start=[0, 1]),
        spaces.Dict(a=spaces.Discrete(2, start=-1)),
    ],
    ids=str,
)
def test_numbers_that_begin_elsewhere_than_at_0(space: spaces.Space[Any]) -> None:
    with pytest.raises(ValueError, match=r"action_space: expected numbers that begin at 0, .*start=.*: shift them"):
        require_supported("action_space", space)


def test_single_precision_is_all_that_changes() -> None:
    wide = spaces.Box(np.array([-1.5, -np.inf]), np.array([1e300, 2.0]), dtype=np.float64)
    narrow = spaces.Box(np.array([-1.5, -np.inf], np.float32), np.array([np.inf, 2.0], np.float32))
    assert single_precision_space(wide) == narrow
    assert single_precision_space(spaces.Dict({"x": wide, "i": IMAGE})) == spaces.Dict({"x": narrow, "i": IMAGE})
    for space in (narrow, IMAGE, spaces.Discrete(3, start=-1), spaces.MultiBinary(3)):
        assert single_precision_space(space) is space
