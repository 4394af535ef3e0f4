"""Batches of transitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sb3_gail.transitions import Array, Rows, Transitions, map_observations


def batch(n: int = 5, start: int = 0, **changes: Any) -> Transitions:
    frames = np.arange(start, start + n + 1, dtype=np.float32)[:, None] * np.ones(2, np.float32)
    parts: dict[str, Any] = {
        "observations": Rows(frames, np.arange(n)),
        "actions": np.arange(n),
        "next_observations": Rows(frames, np.arange(n) + 1),
        "terminated": np.arange(n) == n - 1,
    }
    return Transitions(**{**parts, **changes})


def test_rows_are_the_rows_they_choose() -> None:
    array = np.arange(12, dtype=np.uint8).reshape(6, 2)
    rows = Rows(array, np.array([4, 0, 4]))
    assert (rows.shape, str(rows.dtype), len(rows)) == ((3, 2), "uint8", 3)
    np.testing.assert_array_equal(rows, array[[4, 0, 4]])
    np.testing.assert_array_equal(rows[1:], array[[0, 4]])
    np.testing.assert_array_equal(rows[np.array([True, False, True])], array[[4, 4]])
    assert np.asarray(rows, dtype=np.float32).dtype == np.float32


def test_rows_share_their_array_and_say_so() -> None:
    array = np.zeros((3, 2))
    rows = Rows(array, np.array([1]))
    assert rows.array is array
    array[1] = 7
    np.testing.assert_array_equal(rows, [[7, 7]])
    with pytest.raises(ValueError, match="copy=False"):
        rows.__array__(copy=False)


def test_map_observations_goes_into_dicts() -> None:
    def add(one: Array, other: Array) -> Array:
        return one + other

    one, other = np.ones(2), np.full(2, 2.0)
    np.testing.assert_array_equal(map_observations(add, one, other), [3, 3])
    mapped = map_observations(add, {"a": one, "b": other}, {"a": other, "b": other})
    assert mapped.keys() == {"a", "b"}
    np.testing.assert_array_equal(mapped["a"], [3, 3])
    np.testing.assert_array_equal(mapped["b"], [4, 4])


def test_an_index_picks_the_same_rows_of_every_part() -> None:
    picked = batch(log_prob=np.arange(5.0))[np.array([4, 1])]
    assert len(picked) == 2
    np.testing.assert_array_equal(picked.observations, [[4, 4], [1, 1]])
    np.testing.assert_array_equal(picked.next_observations, [[5, 5], [2, 2]])
    np.testing.assert_array_equal(picked.actions, [4, 1])
    np.testing.assert_array_equal(picked.terminated, [True, False])
    np.testing.assert_array_equal(np.asarray(picked.log_prob), [4, 1])


def test_dict_observations_are_picked_and_joined() -> None:
    keyed = {"a": np.arange(5), "b": np.ones((5, 3))}
    one = batch(observations=keyed, next_observations=keyed)
    both = Transitions.concatenate([one, one[:2]])
    assert isinstance(both.observations, dict)
    np.testing.assert_array_equal(both.observations["a"], [0, 1, 2, 3, 4, 0, 1])
    assert both.observations["b"].shape == (7, 3)


def test_concatenation_keeps_the_order_and_log_prob_only_where_all_have_it() -> None:
    joined = Transitions.concatenate([batch(2), batch(3, start=10)])
    np.testing.assert_array_equal(np.asarray(joined.observations)[:, 0], [0, 1, 10, 11, 12])
    np.testing.assert_array_equal(joined.terminated, [False, True, False, False, True])
    assert joined.log_prob is None
    known = [batch(2, log_prob=np.zeros(2)), batch(1, log_prob=np.ones(1))]
    np.testing.assert_array_equal(np.asarray(Transitions.concatenate(known).log_prob), [0, 0, 1])
    assert Transitions.concatenate([*known, batch(1)]).log_prob is None
    assert Transitions.concatenate(known[:1]) is known[0]
    with pytest.raises(ValueError, match="at least one"):
        Transitions.concatenate([])


@pytest.mark.parametrize(
    ("part", "rows"),
    [
        ("observations", np.zeros((4, 2))),
        ("next_observations", {"a": np.zeros(5), "b": np.zeros(6)}),
        ("terminated", np.zeros(6, bool)),
        ("log_prob", np.zeros(1)),
    ],
)
def test_parts_of_different_lengths_are_refused(part: str, rows: Any) -> None:
    with pytest.raises(ValueError, match=rf"one length.*{part}"):
        batch(**{part: rows})
