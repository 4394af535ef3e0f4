"""The encoding of transitions against numbers computed by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from sb3_gail import Demonstrations, Transitions
from sb3_gail.encoder import TransitionEncoder
from sb3_gail.transitions import Array

BOX = spaces.Box(-np.inf, np.inf, (3,), np.float64)
ACTIONS = spaces.Box(-1.0, 1.0, (2,), np.float32)


def demonstrations(
    observations: Any,
    actions: Array,
    observation_space: spaces.Space[Any] = BOX,
    action_space: spaces.Space[Any] = ACTIONS,
) -> Demonstrations:
    """One episode."""
    return Demonstrations.from_arrays(
        observations, actions, lengths=[len(actions)], observation_space=observation_space, action_space=action_space
    )


def encoded(encoder: TransitionEncoder, observations: Any, actions: Any, next_observations: Any) -> Tensor:
    n = len(actions)
    columns: Tensor = encoder(Transitions(observations, actions, next_observations, np.zeros(n, dtype=bool)))
    return columns


RNG = np.random.default_rng(0)
OBSERVATIONS = RNG.normal([5.0, -300.0, 0.001], [2.0, 40.0, 0.0003], size=(41, 3))
EXECUTED = RNG.uniform(-1, 1, size=(40, 2)).astype(np.float32)


def test_numbers_are_standardised_by_the_demonstrations() -> None:
    encoder = TransitionEncoder(demonstrations(OBSERVATIONS, EXECUTED), inputs="sas'")
    others = RNG.normal([4.0, -280.0, 0.0011], [1.0, 20.0, 0.0002], size=(7, 3))
    after = others + 0.1 * OBSERVATIONS.std(axis=0)
    actions = np.zeros((7, 2), np.float32)
    mean, deviation = OBSERVATIONS[:-1].mean(axis=0), OBSERVATIONS[:-1].std(axis=0)
    expected = [
        (others - mean) / deviation,
        (actions - EXECUTED.mean(axis=0)) / EXECUTED.std(axis=0),
        (after - mean) / deviation,  # the same statistics as before the step
    ]
    columns = encoded(encoder, others, actions, after)
    assert columns.dtype == torch.float32
    assert columns.shape == (7, encoder.size)
    np.testing.assert_allclose(columns, np.concatenate(expected, axis=1), rtol=1e-3, atol=1e-4)
    assert encoder.parts == {"observations": slice(0, 3), "actions": slice(3, 5), "next_observations": slice(5, 8)}


@pytest.mark.parametrize(
    ("inputs", "parts"),
    [
        ("s", {"observations": slice(0, 3)}),
        ("sa", {"observations": slice(0, 3), "actions": slice(3, 5)}),
        ("ss'", {"observations": slice(0, 3), "next_observations": slice(3, 6)}),
        ("sas'", {"observations": slice(0, 3), "actions": slice(3, 5), "next_observations": slice(5, 8)}),
    ],
)
def test_it_sees_only_what_it_is_told_to(inputs: str, parts: dict[str, slice]) -> None:
    encoder = TransitionEncoder(demonstrations(OBSERVATIONS, EXECUTED), inputs=inputs)
    assert encoder.parts == parts
    given: dict[str, Array] = {
        "observations": OBSERVATIONS[:4],
        "actions": EXECUTED[:4],
        "next_observations": OBSERVATIONS[1:5],
    }
    columns = encoded(encoder, *given.values())
    for name, rows in given.items():
        changed = encoded(encoder, *{**given, name: rows + np.float32(0.5)}.values())
        touched = (changed != columns).any(dim=0).nonzero().ravel().tolist()
        expected = parts.get(name, slice(0, 0))
        assert touched == list(range(expected.start, expected.stop))


def test_constants_are_zero_whatever_the_policy_makes_of_them() -> None:
    # A mass, exactly constant; another with the last digits of another simulator; a clock that hardly varies.
    observations = OBSERVATIONS.copy()
    observations[:, 0] = 8.3
    observations[:, 1] = 8907.463 + 1e-3 * RNG.normal(size=len(observations))
    encoder = TransitionEncoder(demonstrations(observations, EXECUTED), inputs="s")
    others = observations[:5] + np.array([1e-3, 50.0, 0.0])
    columns = encoded(encoder, others, EXECUTED[:5], others)
    assert not columns[:, :2].any()
    assert (columns[:, 2] != 0).all()


def test_numbers_of_any_size_that_vary_are_seen() -> None:
    normal = np.random.default_rng(0).normal(size=OBSERVATIONS.shape)
    # Metres on a map of the world, teslas, and a simulator's rounding about zero.
    observations = (np.array([5.4e6, 5e-5, 0.0]) + np.array([20.0, 3e-6, 1e-15]) * normal).astype(np.float32)
    encoder = TransitionEncoder(demonstrations(observations, EXECUTED), inputs="s")
    columns = encoded(encoder, observations[:-1], EXECUTED, observations[:-1])
    np.testing.assert_allclose(columns.numpy().std(axis=0), [1.0, 1.0, 0.0], atol=1e-3)


def test_a_constant_action_is_counted_in_halves_of_its_range() -> None:
    held = EXECUTED.copy()
    held[:, 0] = 1.0
    encoder = TransitionEncoder(demonstrations(OBSERVATIONS, held), inputs="sa")
    others = held[:3].copy()
    others[:, 0] = [1.0, 0.0, -1.0]
    columns = encoded(encoder, OBSERVATIONS[:3], others, OBSERVATIONS[:3])
    half_range = (encoder.action_leaves[0].space.high - encoder.action_leaves[0].space.low)[0] / 2  # type: ignore[attr-defined]
    np.testing.assert_allclose(columns[:, 3], np.array([0.0, -1.0, -2.0]) / half_range)


@pytest.mark.parametrize(
    ("deviations", "floor"),
    [((2.0, 30.0, 0.04), 0.1), ((0.5, 0.5, 0.004), 0.1 / 6), ((0.02, 0.02, 0.01), 0.0)],
    ids=["in the environment's units", "by a sixth of the typical one", "not where all are alike"],
)
def test_small_deviations_are_floored(deviations: tuple[float, ...], floor: float) -> None:
    normal = np.random.default_rng(0).normal(size=OBSERVATIONS.shape)
    standard = (normal - normal[:-1].mean(axis=0)) / normal[:-1].std(axis=0)
    observations = (standard * deviations).astype(np.float32)
    encoder = TransitionEncoder(demonstrations(observations, EXECUTED), inputs="s", smallest_deviation=0.1)
    columns = encoded(encoder, observations[:5], EXECUTED[:5], observations[:5])
    expected = standard[:5] * deviations / np.maximum(deviations, floor)
    np.testing.assert_allclose(columns, expected, atol=1e-4)


def test_numbers_far_away_are_clipped() -> None:
    encoder = TransitionEncoder(demonstrations(OBSERVATIONS, EXECUTED), inputs="s", clip=4.0)
    mean, deviation = OBSERVATIONS[:-1].mean(axis=0), OBSERVATIONS[:-1].std(axis=0)
    far = mean + deviation * [[1e6, -1e6, 3.9]]
    np.testing.assert_allclose(encoded(encoder, far, EXECUTED[:1], far), [[4.0, -4.0, 3.9]], rtol=1e-3)


def test_subsampled_demonstrations_fit_on_what_was_kept() -> None:
    kept = demonstrations(OBSERVATIONS, EXECUTED).subsample(8)
    encoder = TransitionEncoder(kept, inputs="s")
    rows = np.asarray(kept.transitions().observations)
    assert len(rows) == 5
    columns = encoder(kept.transitions())
    np.testing.assert_allclose(columns, (rows - rows.mean(axis=0)) / rows.std(axis=0), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("space", "actions", "expected"),
    [
        (spaces.Discrete(3), [2, 0, 1], [[0, 0, 1], [1, 0, 0], [0, 1, 0]]),
        (spaces.MultiDiscrete([2, 3]), [[1, 2], [0, 0], [1, 1]], [[0, 1, 0, 0, 1], [1, 0, 1, 0, 0], [0, 1, 0, 1, 0]]),
        (spaces.MultiBinary(2), [[1, 0], [0, 0], [1, 1]], [[1, 0], [0, 0], [1, 1]]),
    ],
    ids=["Discrete", "MultiDiscrete", "MultiBinary"],
)
def test_categories_are_one_hot(space: spaces.Space[Any], actions: list[Any], expected: list[list[int]]) -> None:
    executed = np.array(actions, dtype=space.dtype)
    expert = demonstrations(OBSERVATIONS[:4], executed, action_space=space)
    encoder = TransitionEncoder(expert, inputs="sa")
    columns = encoded(encoder, OBSERVATIONS[:3], executed, OBSERVATIONS[:3])[:, encoder.parts["actions"]]
    np.testing.assert_array_equal(columns, expected)
    # SB3 samples bits as floats.
    floats = encoded(encoder, OBSERVATIONS[:3], executed.astype(np.float32), OBSERVATIONS[:3])
    np.testing.assert_array_equal(floats[:, encoder.parts["actions"]], expected)


def test_discrete_observations_are_one_hot() -> None:
    states = np.array([0, 3, 1, 2])
    expert = demonstrations(states, EXECUTED[:3], observation_space=spaces.Discrete(4))
    encoder = TransitionEncoder(expert, inputs="ss'")
    columns = encoded(encoder, states[:3], EXECUTED[:3], states[1:])
    np.testing.assert_array_equal(columns, np.eye(4)[np.stack([states[:3], states[1:]], axis=1)].reshape(3, 8))


PICTURES = RNG.integers(0, 256, size=(6, 36, 40, 3), dtype=np.uint8)


def test_images_are_scaled_and_the_order_of_channels_does_not_matter() -> None:
    last = spaces.Box(0, 255, (36, 40, 3), np.uint8)
    first = spaces.Box(0, 255, (3, 36, 40), np.uint8)
    moved = np.ascontiguousarray(np.moveaxis(PICTURES, -1, 1))
    of_last = TransitionEncoder(demonstrations(PICTURES, EXECUTED[:5], last), inputs="sa")
    of_first = TransitionEncoder(demonstrations(moved, EXECUTED[:5], first), inputs="sa")
    assert of_last.has_images
    assert of_first.has_images
    columns = encoded(of_last, PICTURES[:5], EXECUTED[:5], PICTURES[1:])
    torch.testing.assert_close(columns, encoded(of_first, moved[:5], EXECUTED[:5], moved[1:]), rtol=0, atol=0)
    pixels = columns[:, of_last.parts["observations"]].numpy().reshape(5, 3, 36, 40)
    np.testing.assert_allclose(pixels, moved[:5] / 255.0, rtol=1e-6)


def test_dict_observations_are_encoded_key_by_key() -> None:
    space = spaces.Dict(
        {
            "place": spaces.Box(-np.inf, np.inf, (2,), np.float64),
            "door": spaces.Discrete(2),
            "view": spaces.Box(0, 255, (36, 36, 1), np.uint8),
        }
    )
    observations: Mapping[str, Array] = {
        "place": RNG.normal(10.0, 3.0, size=(6, 2)),
        "door": np.array([0, 1, 1, 0, 1, 0]),
        "view": RNG.integers(0, 256, size=(6, 36, 36, 1), dtype=np.uint8),
    }
    encoder = TransitionEncoder(demonstrations(observations, EXECUTED[:5], space), inputs="s")
    assert encoder.has_images
    rows = {key: part[:5] for key, part in observations.items()}
    columns = encoded(encoder, rows, EXECUTED[:5], rows).numpy()
    parts = {}
    start = 0
    for leaf in encoder.observation_leaves:
        parts[leaf.key] = columns[:, start : start + leaf.size]
        start += leaf.size
    assert start == encoder.size == 2 + 2 + 36 * 36
    place = rows["place"]
    np.testing.assert_allclose(parts["place"], (place - place.mean(axis=0)) / place.std(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(parts["door"], np.eye(2)[rows["door"]])
    np.testing.assert_allclose(parts["view"], rows["view"].reshape(5, -1) / 255.0, rtol=1e-6)


def test_bytes_that_are_no_image_are_numbers() -> None:
    memory = RNG.integers(0, 256, size=(9, 4), dtype=np.uint8)
    encoder = TransitionEncoder(demonstrations(memory, EXECUTED[:8], spaces.Box(0, 255, (4,), np.uint8)), inputs="s")
    assert not encoder.has_images
    rows = memory[:8].astype(np.float64)
    expected = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    np.testing.assert_allclose(encoded(encoder, memory[:8], EXECUTED[:8], memory[1:]), expected, rtol=1e-4, atol=1e-5)


def test_both_sides_are_cast_alike() -> None:
    # Demonstrations may be float32, the environment float64: the same observation is the same to the last bit.
    encoder = TransitionEncoder(demonstrations(OBSERVATIONS.astype(np.float32), EXECUTED), inputs="s")
    double = encoded(encoder, OBSERVATIONS[:9], EXECUTED[:9], OBSERVATIONS[:9])
    single = encoded(encoder, OBSERVATIONS[:9].astype(np.float32), EXECUTED[:9], OBSERVATIONS[:9].astype(np.float32))
    torch.testing.assert_close(double, single, rtol=0, atol=0)


def test_the_statistics_are_saved_and_not_trained() -> None:
    encoder = TransitionEncoder(demonstrations(OBSERVATIONS, EXECUTED), inputs="sa")
    other = TransitionEncoder(demonstrations(OBSERVATIONS * 2 + 1, EXECUTED), inputs="sa")
    assert not list(encoder.parameters())
    other.load_state_dict(encoder.state_dict())
    given = OBSERVATIONS[:9], EXECUTED[:9], OBSERVATIONS[:9]
    torch.testing.assert_close(encoded(other, *given), encoded(encoder, *given), rtol=0, atol=0)


def test_narrowed_is_the_same_encoding_of_fewer_parts() -> None:
    fitted_on = demonstrations(RNG.normal(2.0, 3.0, (9, 3)), RNG.uniform(-1, 1, (8, 2)).astype(np.float32))
    whole, transitions = TransitionEncoder(fitted_on, inputs="sas'"), fitted_on.transitions()
    for inputs in ("s", "sa", "ss'", "sas'"):
        narrowed, alone = whole.narrowed(inputs), TransitionEncoder(fitted_on, inputs=inputs)
        assert narrowed.parts == alone.parts
        np.testing.assert_array_equal(narrowed(transitions), alone(transitions))
