"""GTAL's best response and multiplicative weights against numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from feature_batches import batch, fictitious_play, raw
from scripted import Scripted, demonstrations_of

from sb3_gail.adversaries import GameTheoreticApprenticeship
from sb3_gail.adversaries.linear import SIZE


@pytest.mark.parametrize(
    ("policy", "weights", "gap"),
    [
        ([1.0, 2.0, 3.0], [0.0, 0.0, 1.0], 2.0),  # the third feature is the expert's most
        ([1.0, 9.0, 3.0], [0.0, -1.0, 0.0], 6.0),  # the second is the policy's too much
    ],
)
def test_best_response(policy: list[float], weights: list[float], gap: float) -> None:
    adversary = GameTheoreticApprenticeship(raw, 3, sign="both")
    metrics = adversary.update(batch([policy]), batch([[2.0, 3.0, 5.0]]), progress_remaining=1.0)
    np.testing.assert_array_equal(adversary.weights, weights)
    assert metrics["reward_gap"] == gap
    reward = adversary.reward(batch([[1.0, 20.0, 300.0]])) * adversary.span / SIZE
    np.testing.assert_allclose(reward, [np.dot(weights, [1.0, 20.0, 300.0])], rtol=1e-6)


def test_best_response_to_the_last_rollout_forgets_what_was_before() -> None:
    adversary, expert = GameTheoreticApprenticeship(raw, 2), batch([[1.0, 1.0]])
    for policy, weights in (([0.0, 1.0], [1.0, 0.0]), ([1.0, 9.0], [0.0, -1.0]), ([0.0, 1.0], [1.0, 0.0])):
        adversary.update(batch([policy]), expert, progress_remaining=1.0)
        np.testing.assert_array_equal(adversary.weights, weights)


def test_multiplicative_weights_step_by_step() -> None:
    adversary = GameTheoreticApprenticeship(raw, 2, sign="both", multiplicative_iterations=50, largest_feature=5.0)
    expert = np.array([2.0, 3.0])
    beta = 1 / (1 + math.sqrt(2 * math.log(4) / 50))
    shares = np.full(4, 0.25)  # of both features and their negatives
    for policy in ([1.0, 5.0], [4.0, -2.0], [2.0, 3.0]):
        adversary.update(batch([policy]), batch([expert]), progress_remaining=1.0)
        difference = np.concatenate([policy - expert, expert - policy]) / 5.0
        shares = shares * beta ** ((difference + 2) / 4)
        shares /= shares.sum()
        np.testing.assert_allclose(adversary.weights, shares[:2] - shares[2:], rtol=1e-5)
    reward = adversary.reward(batch([[10.0, -1.0]])) * adversary.span / SIZE
    np.testing.assert_allclose(reward, [(shares[:2] - shares[2:]) @ [10.0, -1.0]], rtol=1e-5)


def test_multiplicative_weights_of_a_far_off_policy_take_the_largest_step() -> None:
    adversary = GameTheoreticApprenticeship(raw, 1, multiplicative_iterations=8, largest_feature=1.0)
    adversary.update(batch([[-1e6]]), batch([[1.0]]), progress_remaining=1.0)
    step = math.log(1 + math.sqrt(2 * math.log(2) / 8))
    assert adversary.weights.item() == pytest.approx(math.tanh(step / 2))  # shares in proportion exp(step) to 1


def test_the_largest_feature_is_the_demonstrations() -> None:
    demonstrations = demonstrations_of(Scripted())
    actions = np.asarray(demonstrations.transitions().actions)
    settings: dict[str, Any] = {"features": lambda transitions: -10 * np.asarray(transitions.actions)}
    adversary = GameTheoreticApprenticeship.from_demonstrations(demonstrations, **settings)
    assert adversary.largest_feature == pytest.approx(10 * np.abs(actions).max())
    given = GameTheoreticApprenticeship.from_demonstrations(demonstrations, largest_feature=2.0, **settings)
    assert given.largest_feature == 2.0


def test_a_player_against_best_responses_approaches_the_experts_feature_expectations() -> None:
    expert, player = fictitious_play(GameTheoreticApprenticeship(raw, 3), n_rounds=1000)
    assert np.abs(player - expert).max() < 0.15


def test_multiplicative_weights_keep_their_promise() -> None:
    """Of a player with best answers the mixture's largest gap is below Syed & Schapire's bound."""
    n_rounds, n_features, largest = 1000, 3, 3.0
    rng = np.random.default_rng(1)
    actions = rng.normal(size=(6, n_features)).astype(np.float32)
    expert = batch(actions[[0, 0, 1, 2, 3, 3, 3, 5]])
    adversary = GameTheoreticApprenticeship(
        raw, n_features, multiplicative_iterations=n_rounds, largest_feature=largest
    )
    played = []
    for _ in range(n_rounds):
        played.append(int(adversary.reward(batch(actions)).argmax()))
        adversary.update(batch(actions[played[-1:]]), expert, progress_remaining=1.0)
    gap = np.abs(raw(expert).mean(axis=0) - actions[played].mean(axis=0)).max()
    # Freund & Schapire's regret for losses in [0, 1], on the scale of the features.
    regret = math.sqrt(2 * math.log(2 * n_features) / n_rounds) + math.log(2 * n_features) / n_rounds
    assert gap < 4 * largest * regret


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"multiplicative_iterations": 0}, "multiplicative_iterations must be a positive whole number, got 0"),
        ({"multiplicative_iterations": 2.5}, r"multiplicative_iterations must be a positive whole number, got 2\.5"),
        ({"multiplicative_iterations": "a"}, "multiplicative_iterations must be a positive whole number, got 'a'"),
        ({"largest_feature": 0.0}, "largest_feature must be a positive number, got 0.0"),
        ({"sign": ""}, "sign must be one of"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GameTheoreticApprenticeship(raw, 2, **settings)
