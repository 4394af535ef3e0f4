"""FEM's weights and rewards against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from feature_batches import batch, fictitious_play, raw

from sb3_gail.adversaries import FeatureMatching


def test_weights_and_reward_worked_out_by_hand() -> None:
    adversary = FeatureMatching(raw, 2, sign="both")
    np.testing.assert_array_equal(adversary.reward(batch([[1.0, 2.0]])), [0.0])
    # E_expert = (4, 5), E_policy = (1, 1): the difference (3, 4) has length 5.
    metrics = adversary.update(batch([[0.0, 2.0], [2.0, 0.0]]), batch([[4.0, 5.0]]), progress_remaining=1.0)
    np.testing.assert_allclose(adversary.weights, [0.6, 0.8], rtol=1e-6)
    reward = adversary.reward(batch([[1.0, 0.0], [5.0, -10.0]]))
    np.testing.assert_allclose(reward, np.array([0.06, -0.5]) / 1.6, rtol=1e-6)  # the policy's w . phi are 1.6 and 1.2
    assert reward.dtype == torch.float32
    assert metrics == {
        "feature_gap": 5.0,
        "reward_gap": pytest.approx(5.0),
        "reward_bound": 0.0,
        "reward_span": pytest.approx(1.6),
    }


def test_no_difference_is_no_reward() -> None:
    adversary = FeatureMatching(raw, 2)
    adversary.update(batch([[1.0, 2.0], [3.0, 4.0]]), batch([[2.0, 3.0]]), progress_remaining=1.0)
    np.testing.assert_array_equal(adversary.reward(batch([[1.0, 2.0]])), [0.0])


def test_a_player_against_it_approaches_the_experts_feature_expectations() -> None:
    expert, player = fictitious_play(FeatureMatching(raw, 3))
    assert np.linalg.norm(player - expert) < 0.02
