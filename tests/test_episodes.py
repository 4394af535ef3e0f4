"""Episodes, one by one and end to end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sb3_gail.episodes import Episode, Episodes

LENGTHS = [2, 3, 1]
OBSERVATIONS = np.arange(9 * 2, dtype=np.float32).reshape(9, 2)
ACTIONS = np.arange(6)
REWARDS = np.array([1.0, 2, 4, 8, 16, 32])


def arrays(**changes: Any) -> dict[str, Any]:
    parts = {"observations": OBSERVATIONS, "actions": ACTIONS, "lengths": LENGTHS, "rewards": REWARDS}
    return {**parts, "terminated": [True, False, True], **changes}


def made(**changes: Any) -> Episodes:
    return Episodes.from_arrays(**arrays(**changes))


def test_arrays_are_taken_over_and_episodes_are_views() -> None:
    episodes = made()
    assert episodes.observations is OBSERVATIONS
    assert episodes.actions is ACTIONS
    first, second, third = episodes
    np.testing.assert_array_equal(first.observations, OBSERVATIONS[:3])
    np.testing.assert_array_equal(second.observations, OBSERVATIONS[3:7])
    np.testing.assert_array_equal(third.observations, OBSERVATIONS[7:])
    assert [list(episode.actions) for episode in episodes] == [[0, 1], [2, 3, 4], [5]]
    assert [len(episode) for episode in episodes] == LENGTHS
    assert [episode.terminated for episode in episodes] == [True, False, True]
    assert [episode.truncated for episode in episodes] == [False, True, False]
    for part, whole in ((second.observations, OBSERVATIONS), (second.actions, ACTIONS), (second.rewards, REWARDS)):
        assert isinstance(part, np.ndarray)
        assert np.shares_memory(part, whole)


def test_sums() -> None:
    episodes = made()
    assert (len(episodes), episodes.n_steps) == (3, 6)
    assert list(episodes.first_steps) == [0, 2, 5]
    assert list(episodes.returns) == [3, 28, 32]  # type: ignore[arg-type]
    assert made(rewards=None).returns is None


def test_the_first_ones_share_the_arrays() -> None:
    first = made().first(2)
    np.testing.assert_array_equal(first.observations, OBSERVATIONS[:7])
    assert isinstance(first.observations, np.ndarray)
    assert np.shares_memory(first.observations, OBSERVATIONS)
    assert list(first.actions) == [0, 1, 2, 3, 4]
    assert list(first.returns) == [3, 28]  # type: ignore[arg-type]
    assert list(first.terminated) == [True, False]


def test_separate_episodes_joined_are_the_same() -> None:
    episodes = made(observations={"a": OBSERVATIONS, "b": OBSERVATIONS[:, 0].astype(np.uint8)})
    joined = Episodes.join(episodes)
    assert isinstance(joined.observations, dict)
    assert joined.observations["b"].dtype == np.uint8
    np.testing.assert_array_equal(joined.observations["a"], OBSERVATIONS)
    for name in ("actions", "lengths", "terminated", "truncated", "rewards"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(episodes, name))


def test_mappings_are_episodes_and_rewards_may_be_missing() -> None:
    episode = {"observations": [[0.0], [1.0]], "actions": [1], "terminated": True, "truncated": False}
    joined = Episodes.join([episode])
    assert joined.rewards is None
    assert list(joined.terminated) == [True]


def test_floats_become_float32_once_and_rewards_stay_exact() -> None:
    episodes = made(observations=OBSERVATIONS.astype(np.float64), actions=ACTIONS / 3, rewards=REWARDS + 1e-12)
    assert isinstance(episodes.observations, np.ndarray)
    assert (str(episodes.observations.dtype), str(episodes.actions.dtype)) == ("float32", "float32")
    np.testing.assert_array_equal(episodes.rewards, REWARDS + 1e-12)
    joined = Episodes.join(made(rewards=REWARDS + 1e-12))
    np.testing.assert_array_equal(joined.rewards, REWARDS + 1e-12)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "bool", "float16"])
def test_other_kinds_of_numbers_stay(dtype: str) -> None:
    episodes = made(observations=OBSERVATIONS.astype(dtype))
    assert isinstance(episodes.observations, np.ndarray)
    assert str(episodes.observations.dtype) == dtype


@pytest.mark.parametrize(
    ("given", "terminated", "truncated"),
    [
        ({}, [False] * 3, [True] * 3),
        ({"terminated": [True, False, True]}, [True, False, True], [False, True, False]),
        ({"truncated": [True, False, True]}, [False, True, False], [True, False, True]),
        ({"terminated": [True] * 3, "truncated": [True, False, False]}, [True] * 3, [True, False, False]),
        ({"terminated": [False] * 3, "truncated": [False] * 3}, [False] * 3, [False] * 3),
    ],
)
def test_endings_that_are_not_given(given: dict[str, Any], terminated: list[bool], truncated: list[bool]) -> None:
    episodes = made(**{"terminated": None, **given})
    assert list(episodes.terminated) == terminated
    assert list(episodes.truncated) == truncated


def with_value(array: Any, row: Any, value: float) -> Any:
    changed = np.array(array, dtype=np.float64)
    changed[row] = value
    return changed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lengths": []}, "at least one episode, got empty lengths"),
        ({"lengths": [2, 4, 0]}, "at least one step an episode, got 0 in episode 2"),
        ({"lengths": [[2, 3, 1]]}, r"\[N\], got the shape \(1, 3\)"),
        ({"lengths": [2, 3]}, r"observations: expected 7 rows \(sum\(T_i \+ 1\).*got the shape \(9, 2\)"),
        ({"observations": OBSERVATIONS[:6]}, r"expected 9 rows .*last observation included.*got the shape \(6, 2\)"),
        ({"actions": ACTIONS[:5]}, r"actions: expected 6 rows \(sum\(T_i\)\).*got the shape \(5,\)"),
        ({"observations": OBSERVATIONS.reshape(3, 3, 2)}, r"got the shape \(3, 3, 2\): lay the episodes end to end"),
        ({"lengths": [3, 4, 2]}, r"got the shape \(9, 2\): lengths count actions, of which an episode has one less"),
        ({"actions": 3}, r"actions: expected 6 rows .*got the shape \(\)"),
        ({"rewards": REWARDS[:, None]}, r"rewards: expected 6 rows .*got the shape \(6, 1\)"),
        ({"terminated": [True]}, r"terminated: expected one value for each of the 3 episodes, got the shape \(1,\)"),
        ({"truncated": [True] * 4}, r"truncated: expected one value for each of the 3 episodes"),
        ({"observations": with_value(OBSERVATIONS, (5, 1), np.nan)}, r"got nan at episode 1, step 2, index \(1,\)"),
        (
            {"observations": {"a": with_value(OBSERVATIONS, 8, np.inf)}},
            r"observations\['a'\].*inf at episode 2, step 1",
        ),
        ({"observations": with_value(OBSERVATIONS, (3, 0), 1e300)}, r"got inf at episode 1, step 0"),
        ({"actions": with_value(ACTIONS, 2, -np.inf)}, r"actions: .*got -inf at episode 1, step 0 \(row 2\)"),
        ({"rewards": with_value(REWARDS, 0, np.nan)}, r"rewards: .*got nan at episode 0, step 0"),
        (
            {"observations": [[1, 2], [3]]},
            "observations: expected one array.*unequal parts; .*from_episodes takes them",
        ),
        ({"observations": {}}, "got an empty dict"),
    ],
)
def test_contents_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"observations": np.array(["a"] * 9)}, "observations: expected numbers, got <U1"),
        (
            {"actions": np.array([np.zeros(2), np.zeros(4)], dtype=object)},
            "actions: expected numbers, got object values; .*from_episodes takes them",
        ),
        ({"lengths": [2.0, 3.0, 1.0]}, "lengths: expected integers, got float64"),
        ({"terminated": [1, 0, 1]}, "terminated: expected booleans, got int64"),
        ({"rewards": ["a"] * 6}, "rewards: expected numbers"),
    ],
)
def test_types_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        made(**changes)


def episode(steps: int = 2, **changes: Any) -> Episode:
    parts = {"observations": np.zeros((steps + 1, 2)), "actions": np.zeros(steps, int), "rewards": np.zeros(steps)}
    return Episode(**{**parts, "terminated": True, "truncated": False, **changes})


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (episode(observations=np.zeros((2, 2))), "episode 1, observations: expected 3 rows for 2 actions, .*got 2"),
        (episode(observations=np.zeros((3, 4))), r"episode 1, observations: .*shape \(2,\) .*got \(4,\)"),
        (episode(actions=np.zeros((2, 1), int)), r"episode 1, actions: .*shape \(\) .*got \(1,\)"),
        (episode(observations={"a": np.zeros(3)}), r"episode 1: expected \['observations'\] .*got \[.*'a'"),
        (episode(rewards=None), "in all episodes or in none, got none in episode 1"),
        (episode(rewards=np.zeros(3)), r"episode 1, rewards: expected one for each of 2 actions, got the shape \(3,\)"),
        (episode(terminated=[False, True]), r"episode 1, terminated: expected one bool, .*got \[False, True\]"),
        (episode(truncated="False"), "episode 1, truncated: expected one bool, .*got 'False'"),
        (episode(observations=[[0.0, 0.0], [0.0]]), "episode 1, observations: .*got unequal parts$"),
        (episode(actions=3), "episode 1, actions: expected one row a step, got the single value 3"),
        ({"observations": np.zeros((3, 2))}, r"episode 1: expected the keys .*got \['observations'\]"),
    ],
)
def test_episodes_that_do_not_fit_together(second: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Episodes.join([episode(), second])


@pytest.mark.parametrize(
    ("given", "ends"),
    [
        ({"terminated": True}, (True, False)),
        ({"terminated": np.bool_(False)}, (False, True)),
        ({"truncated": True}, (False, True)),
        ({"truncated": False}, (True, False)),
        ({}, (False, True)),
        ({"terminated": None, "truncated": False}, (True, False)),
        ({"terminated": True, "truncated": True}, (True, True)),
    ],
)
def test_an_ending_that_an_episode_does_not_give(given: dict[str, Any], ends: tuple[bool, bool]) -> None:
    joined = Episodes.join([{"observations": np.zeros((3, 2)), "actions": np.zeros(2), **given}])
    assert (joined.terminated.tolist(), joined.truncated.tolist()) == ([ends[0]], [ends[1]])


def test_an_ending_of_each_step_is_refused() -> None:
    steps = {"observations": np.zeros((3, 2)), "actions": np.zeros(2), "terminated": [False, True]}
    with pytest.raises(ValueError, match=r"episode 0, terminated: expected one bool, .*got \[False, True\]"):
        Episodes.join([steps])


def test_what_is_no_episode() -> None:
    with pytest.raises(ValueError, match="at least one episode, got none"):
        Episodes.join([])
    with pytest.raises(TypeError, match=r"expected a list of episodes, got one mapping with the keys \['actions'\]"):
        Episodes.join({"actions": np.zeros(3)})  # type: ignore[dict-item]
    nested = {"observations": {"arm": {"angle": np.zeros((4, 1))}}, "actions": np.zeros(3)}
    with pytest.raises(TypeError, match=r"episode 0: expected one array of each observation, got a dict of .* 'arm'"):
        Episodes.join([nested])
    with pytest.raises(TypeError, match=r"episode 0: expected an Episode .*got int"):
        Episodes.join([3])  # type: ignore[list-item]
