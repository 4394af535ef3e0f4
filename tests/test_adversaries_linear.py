"""What the adversaries with linear costs share: bounds, feature functions, files, and policies that learn from them."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from feature_batches import batch, raw
from scripted import Choosing, Recorder, Scripted, demonstrations_of, make_learner, wrapped_copies

from sb3_gail.adversaries import FeatureMatching, GameTheoreticApprenticeship, LinearAdversary
from sb3_gail.callbacks import GAILCallback
from sb3_gail.features import StandardisedFeatures


@pytest.mark.parametrize(
    ("sign", "bounds", "spans", "paid"),
    [
        ("positive", [-3.0, -5.0, -1.0], [3.5, 1.0, 2.0], [-2.0, 0.0, 1.0]),  # the last update's
        ("negative", [0.5, 0.5, 1.0], [3.5, 5.5, 6.0], [-1.0, -1 / 3, 0.0]),  # those of all so far
        ("both", [0.0, 0.0, 0.0], [3.5, 5.5, 6.0], [-5 / 6, -1 / 6, 1 / 6]),
    ],
)
def test_bound_and_span(sign: str, bounds: list[float], spans: list[float], paid: list[float]) -> None:
    adversary = FeatureMatching(raw, 1, sign=sign)
    # w is 1, then -1, then 1: w . phi is -3 and 1/2, then -4 and -5, then -1 and 1.
    for rows, bound, span in zip([[[-3.0], [0.5]], [[4.0], [5.0]], [[-1.0], [1.0]]], bounds, spans, strict=True):
        metrics = adversary.update(batch(rows), batch([[2.0]]), progress_remaining=1.0)
        assert metrics["reward_bound"] == adversary.bound == bound
        assert metrics["reward_span"] == adversary.span == span
    np.testing.assert_allclose(10 * adversary.reward(batch([[-5.0], [-1.0], [1.0]])), paid, rtol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 1000.0])
@pytest.mark.parametrize(
    ("sign", "least", "largest"), [("positive", 0, 0.1), ("negative", -0.1, 0), ("both", -0.1, 0.1)]
)
def test_what_an_update_has_seen_is_paid_a_tenth_at_most(sign: str, least: float, largest: float, scale: float) -> None:
    demonstrations = demonstrations_of(Scripted())
    features = StandardisedFeatures(demonstrations)
    adversary = FeatureMatching.from_demonstrations(
        demonstrations, sign=sign, features=lambda transitions: scale * features(transitions)
    )
    rng = np.random.default_rng(0)
    for _ in range(4):
        rollout = batch(rng.normal(size=(50, 4)), rng.normal(size=(50, 2)).astype(np.float32))
        adversary.update(rollout, demonstrations.transitions(), progress_remaining=1.0)
        reward = adversary.reward(rollout)
        assert ((reward >= least) & (reward <= largest + 1e-8)).all()
        assert reward.std() > 0.005


def test_features_may_be_any_function() -> None:
    demonstrations = demonstrations_of(Scripted())
    expert = demonstrations.transitions()
    adversary = FeatureMatching.from_demonstrations(
        demonstrations, features=lambda transitions: np.asarray(transitions.actions) ** 2
    )
    adversary.update(batch(np.zeros((3, 4)), np.zeros((3, 2), np.float32)), expert, progress_remaining=1.0)
    mean = (np.asarray(expert.actions) ** 2).mean(axis=0)
    np.testing.assert_allclose(adversary.weights, mean / np.linalg.norm(mean), rtol=1e-5)


@pytest.mark.parametrize("features", [lambda t: raw(t)[:, 0], lambda t: raw(t).T], ids=["1-D", "transposed"])
def test_features_of_another_shape_are_refused(features: Any) -> None:
    with pytest.raises(ValueError, match=r"features must map 1 transition to an array \[1, F\]"):
        FeatureMatching.from_demonstrations(demonstrations_of(Scripted()), features=features)


def test_features_that_change_their_number_are_refused() -> None:
    adversary = FeatureMatching(lambda transitions: raw(transitions)[:, : len(transitions)], 1)
    with pytest.raises(ValueError, match=r"features must be of shape \[2, 1\], got \[2, 2\]"):
        adversary.reward(batch([[1.0, 2.0], [3.0, 4.0]]))


def test_another_sign_is_refused() -> None:
    with pytest.raises(ValueError, match="sign must be one of 'positive', 'negative', 'both', got 'plus'"):
        FeatureMatching(raw, 2, sign="plus")


@pytest.mark.parametrize(
    "kind",
    [
        (FeatureMatching, {}),
        (GameTheoreticApprenticeship, {}),
        (GameTheoreticApprenticeship, {"multiplicative_iterations": 5}),
    ],
    ids=["FEM", "GTAL", "GTAL-MW"],
)
def test_saved_copied_and_pickled_it_goes_on_alike(kind: tuple[type[LinearAdversary], Any], tmp_path: Path) -> None:
    made, settings = kind
    demonstrations, others = demonstrations_of(Scripted()), demonstrations_of(Scripted(2), seed=7)
    expert, rollout = demonstrations.transitions(), others.transitions()
    adversary = made.from_demonstrations(demonstrations, **settings)
    adversary.update(rollout, expert, progress_remaining=1.0)
    adversary.save(tmp_path / "adversary.pt")
    loaded = made.from_demonstrations(others, **settings)  # fitted on others, which the file overrules
    loaded.load(tmp_path / "adversary.pt")
    copies = [loaded, copy.deepcopy(adversary), pickle.loads(pickle.dumps(adversary))]
    for _ in range(2):
        reward, metrics = adversary.reward(rollout), adversary.update(rollout[:3], expert, progress_remaining=1.0)
        for other in copies:
            np.testing.assert_array_equal(other.reward(rollout), reward)
            assert other.update(rollout[:3], expert, progress_remaining=1.0) == metrics


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (FeatureMatching(raw, 2), "expected weights of 3 features, got 2"),
        (FeatureMatching(raw, 3, sign="negative"), "with the sign 'positive', got 'negative'"),
        (GameTheoreticApprenticeship(raw, 3), "expected a state with sign, weights, .*, got one with .*log_shares"),
    ],
)
def test_a_state_of_another_is_refused_whole(other: LinearAdversary, message: str) -> None:
    adversary = FeatureMatching(raw, 3)
    other.update(
        batch(np.ones((2, len(other.weights)))), batch(np.zeros((2, len(other.weights)))), progress_remaining=1.0
    )
    with pytest.raises(ValueError, match=message):
        adversary.load_state_dict(other.state_dict())
    assert not adversary.weights.any()


def test_other_spaces_are_refused() -> None:
    demonstrations = demonstrations_of(Scripted())
    adversary = FeatureMatching.from_demonstrations(demonstrations)
    spaces = demonstrations.observation_space, demonstrations.action_space
    adversary.check_spaces(*spaces)
    with pytest.raises(ValueError, match="expected an environment whose observations are like"):
        adversary.check_spaces(spaces[1], spaces[1])
    FeatureMatching(raw, 2).check_spaces(spaces[1], spaces[1])  # of which nobody knows what they take


def test_anything_else_than_demonstrations_is_refused() -> None:
    with pytest.raises(TypeError, match="Demonstrations"):
        FeatureMatching.from_demonstrations("expert.npz")  # type: ignore[arg-type]


@pytest.mark.parametrize("made", [FeatureMatching, GameTheoreticApprenticeship])
@pytest.mark.parametrize("kind", [Scripted, Choosing])
def test_trains_a_policy(made: type[LinearAdversary], kind: type[Scripted]) -> None:
    demonstrations = demonstrations_of(kind())
    adversary, recorder = made.from_demonstrations(demonstrations), Recorder()
    with wrapped_copies(adversary, kind=kind) as venv:
        model = make_learner("TRPO", venv)
        model.learn(36, callback=[GAILCallback(adversary, demonstrations), recorder])
    assert len(recorder.rollouts) == 3
    assert adversary.weights.any()
    assert all(rollout.rewards.min() >= 0 and rollout.rewards.std() > 0 for rollout in recorder.rollouts)
