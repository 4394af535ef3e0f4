"""Features of transitions against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from feature_batches import batch
from gymnasium import spaces
from spaces_env import DICT, random_demonstrations

from sb3_gail import Demonstrations
from sb3_gail.features import StandardisedFeatures


def demonstrate(observations: Any, actions: Any, action_space: spaces.Space[Any]) -> Demonstrations:
    """One episode; a next observation is the first one again, so that it does not count in the fit."""
    rows = np.asarray(observations, np.float32)
    return Demonstrations.from_arrays(
        np.concatenate([rows, rows[:1]]),
        np.asarray(actions),
        lengths=[len(rows)],
        observation_space=spaces.Box(-np.inf, np.inf, rows.shape[1:], np.float32),
        action_space=action_space,
    )


def test_features_of_continuous_actions() -> None:
    # Means 2 and 0, deviations 1 and 3; the second observation is a constant.
    demonstrations = demonstrate(
        [[1.0, 7.0], [3.0, 7.0]], np.array([[-3.0], [3.0]], np.float32), spaces.Box(-np.inf, np.inf, (1,), np.float32)
    )
    features = StandardisedFeatures(demonstrations)
    rows = features(batch([[4.0, 8.0], [-100.0, 7.0]], np.array([[-1.5], [3.0]], np.float32)))
    expected = [[2.0, 0.0, -0.5, 4e-4, 0.0, 2.5e-5, 1.0], [-10.0, 0.0, 1.0, 1e-2, 0.0, 1e-4, 1.0]]
    np.testing.assert_allclose(rows, expected, rtol=1e-5)


def test_features_of_discrete_actions_are_in_blocks() -> None:
    demonstrations = demonstrate([[1.0, 2.0], [3.0, 6.0]], [0, 2], spaces.Discrete(3))
    rows = StandardisedFeatures(demonstrations)(batch([[4.0, 8.0], [2.0, 0.0]], np.array([2, 0])))
    nothing = [0.0] * 4
    expected = [[*nothing, *nothing, 2.0, 2.0, 4e-4, 4e-4, 1.0], [0.0, -2.0, 0.0, 4e-4, *nothing, *nothing, 1.0]]
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-9)


def test_features_of_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="without images"):
        StandardisedFeatures(random_demonstrations(DICT, spaces.Discrete(2)))
