"""Wasserstein GAIL: a discriminator with another loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from feature_batches import batch
from scripted import Recorder, Scripted, demonstrations_of, make_learner, wrapped_copies

from sb3_gail import Discriminator, DiscriminatorConfig
from sb3_gail.callbacks import GAILCallback


def test_the_critic_rises_by_the_distance_between_expert_and_policy() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator.from_demonstrations(
        demonstrations_of(Scripted()),
        inputs="s",
        loss="wasserstein",
        gradient_penalty=10.0,
        gradient_norm=1.0,
        reward="airl",
        hidden_sizes=(32,),
        learning_rate=lambda progress_remaining: 1e-2 * progress_remaining,
        batch_size=16,
        transitions_per_step=1,
        device="cpu",
    )
    # All of a side at one point: the Wasserstein distance is that of the points.
    policy, expert = (batch([[0.0, 0.3, t, 0.1]] * 300) for t in (0.05, 0.4))
    points = discriminator.encoder(policy)[0], discriminator.encoder(expert)[0]
    distance = float((points[1] - points[0]).norm())
    assert distance > 1
    for progress_remaining in (1.0, 0.1):
        metrics = discriminator.update(policy, expert, progress_remaining=progress_remaining)
    rise = discriminator.reward(expert)[0] - discriminator.reward(policy)[0]
    # The best slope m along the segment minimises -m d + 10 (m - 1)^2.
    slope = 1 + distance / 20
    assert rise.item() == pytest.approx(slope * distance, rel=0.05)
    assert metrics["adversarial_loss"] == pytest.approx(-slope * distance, rel=0.05)
    np.testing.assert_array_equal(discriminator.reward(expert), discriminator.logits(expert))


def test_trains_a_policy() -> None:
    demonstrations, recorder = demonstrations_of(Scripted()), Recorder()
    settings: dict[str, Any] = {"loss": "wasserstein", "spectral_norm": True, "gradient_penalty": 0.0, "reward": "airl"}
    discriminator = Discriminator.from_demonstrations(demonstrations, batch_size=8, transitions_per_step=4, **settings)
    with wrapped_copies(discriminator) as venv:
        make_learner("TRPO", venv).learn(24, callback=[GAILCallback(discriminator, demonstrations), recorder])
    assert len(recorder.rollouts) == 2
    assert all(rollout.rewards.std() > 0 for rollout in recorder.rollouts)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "hinge"}, "loss must be one of bce, wasserstein or a function"),
        (
            {"loss": "wasserstein", "label_smoothing": 0.1},
            "label_smoothing needs labels, which only the loss 'bce' has",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DiscriminatorConfig(**settings)
