"""How episodes end: the classifier's logits against counted ends, and when there is one."""

from __future__ import annotations

import copy
import math
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from sb3_gail import Demonstrations, Discriminator, Transitions
from sb3_gail.adversaries import DiscriminatorConfig
from sb3_gail.adversaries.ends import MEMORY, EndClassifier, terminal
from sb3_gail.adversaries.networks import LogitNetwork
from sb3_gail.encoder import TransitionEncoder

FLYING, LANDED, CRASHED = range(3)


def demonstrations(*, terminated: bool = True) -> Demonstrations:
    """Three episodes of two steps each: two of flying, the second of which lands."""
    return Demonstrations.from_arrays(
        np.array([FLYING, FLYING, LANDED] * 3),
        np.zeros(6, dtype=int),
        lengths=[2, 2, 2],
        terminated=[terminated] * 3,
        observation_space=spaces.Discrete(3),
        action_space=spaces.Discrete(2),
    )


def flights(*ends: int) -> Transitions:
    """Of a policy: a step of flying on, and then one that terminates, for each end."""
    n = 2 * len(ends)
    return Transitions(
        observations=np.full(n, FLYING),
        actions=np.zeros(n, dtype=int),
        next_observations=np.array([[FLYING, end] for end in ends]).reshape(n),
        terminated=np.tile([False, True], len(ends)),
    )


def classifier(*, gradient_penalty: float = 0.0) -> EndClassifier:
    torch.manual_seed(0)
    encoder = TransitionEncoder(demonstrations(), inputs="ss'")
    network = LogitNetwork(encoder, hidden_sizes=(16,), activation="tanh", use_spectral_norm=False)
    config = DiscriminatorConfig(batch_size=256, learning_rate=0.02, gradient_penalty=gradient_penalty)
    return EndClassifier(encoder, network, config)


def train(ends: EndClassifier, policy: Transitions, expert: Transitions, *, n_steps: int = 500) -> dict[str, float]:
    return ends.update(policy, expert, n_steps=n_steps, progress_remaining=1.0)


def test_logit_is_the_log_ratio_of_densities_among_ends() -> None:
    ends = classifier()
    metrics = train(ends, flights(LANDED, CRASHED, CRASHED, CRASHED), demonstrations().transitions())
    landed, crashed = ends.logits(terminal(flights(LANDED, CRASHED))).tolist()
    assert landed == pytest.approx(math.log(4), abs=0.15)  # all of the expert's, a quarter of the policy's
    assert crashed < -5
    assert metrics["expert_end_logit"] > 0 > metrics["policy_end_logit"]


def test_penalty_keeps_the_classifier_flat() -> None:
    steep, flat = classifier(), classifier(gradient_penalty=1.0)
    for ends in (steep, flat):
        train(ends, flights(CRASHED), demonstrations().transitions())
    distances = [np.ptp(ends.logits(terminal(flights(LANDED, CRASHED))).cpu().numpy()) for ends in (steep, flat)]
    assert distances[0] > 5 > 1 > distances[1]


def test_ratios_are_1_on_average_over_the_policys_ends() -> None:
    ends, expert = classifier(gradient_penalty=0.3), demonstrations().transitions()
    policy = flights(LANDED, CRASHED, CRASHED)
    train(ends, policy, expert)
    assert ends.logits(terminal(policy)).exp().mean().item() == pytest.approx(1.0)


def test_where_the_policy_has_no_end_of_the_experts_all_are_charged() -> None:
    ends = classifier()
    metrics = train(ends, flights(CRASHED), demonstrations().transitions())
    assert ends.logits(terminal(flights(CRASHED))).item() < metrics["policy_end_logit"] / 2 < -2


def test_the_policys_last_ends_are_remembered() -> None:
    ends, expert = classifier(), demonstrations().transitions()
    train(ends, flights(*[CRASHED] * MEMORY), expert, n_steps=1)
    train(ends, flights(*[LANDED] * (MEMORY // 2)), expert)
    assert ends.logits(terminal(flights(LANDED))).item() == pytest.approx(math.log(2), abs=0.15)
    assert len(ends.state_dict()["policy"]) == MEMORY


def test_nothing_is_learned_until_both_sides_have_ended() -> None:
    ends, never = classifier(), demonstrations(terminated=False).transitions()
    before = copy.deepcopy(ends.network.state_dict())
    flying = flights(LANDED)[:1]
    assert ends.logits(terminal(flights(LANDED, CRASHED))).tolist() == [0, 0]
    assert train(ends, flying, demonstrations().transitions()) == {}
    assert train(ends, flights(CRASHED), never) == {}
    for name, weights in ends.network.state_dict().items():
        torch.testing.assert_close(weights, before[name], rtol=0, atol=0)


def make(made_with: Demonstrations, **settings: Any) -> Discriminator:
    torch.manual_seed(0)
    settings = {"batch_size": 4, "transitions_per_step": 4, "gamma": 0.9, **settings}
    return Discriminator.from_demonstrations(made_with, **settings)


@pytest.mark.parametrize(
    ("settings", "terminated"),
    [
        ({"absorbing_states": False}, True),
        ({"reward": "fairl"}, True),
        ({"loss": "wasserstein", "reward": "airl"}, True),
        ({"expert_termination_rate": 0.0}, True),
        ({}, False),
        ({"expert_termination_rate": 0.5}, False),
    ],
)
def test_there_is_none_where_ends_do_not_pay_or_the_expert_has_none(settings: dict[str, Any], terminated: bool) -> None:
    assert make(demonstrations(terminated=True)).ends is not None
    assert make(demonstrations(terminated=terminated), **settings).ends is None


def test_there_is_none_where_no_end_was_kept() -> None:
    thinned = replace(demonstrations(), kept=np.array([0, 2, 4]))
    assert thinned.termination_rate > 0
    assert make(thinned).ends is None


def test_there_is_none_with_a_network_of_ones_own() -> None:
    def network(encoder: TransitionEncoder) -> torch.nn.Module:
        return LogitNetwork(encoder, hidden_sizes=(4,), activation="relu", use_spectral_norm=False)

    assert make(demonstrations(), network=network).ends is None


def test_there_is_none_where_observations_are_images() -> None:
    pictures = Demonstrations.from_arrays(
        np.zeros((3, 36, 36, 1), np.uint8),
        np.zeros(2, dtype=int),
        lengths=[2],
        terminated=[True],
        observation_space=spaces.Box(0, 255, (36, 36, 1), np.uint8),
        action_space=spaces.Discrete(2),
    )
    assert make(pictures).ends is None


def test_landing_is_paid_and_crashing_is_not() -> None:
    discriminator = make(demonstrations(), learning_rate=0.01, gradient_penalty=0.0, batch_size=64)
    metrics: set[str] = set()
    for _ in range(400):
        metrics |= discriminator.update(
            flights(LANDED, CRASHED, CRASHED), demonstrations().transitions(), progress_remaining=1.0
        ).keys()
    landed, crashed = discriminator.reward(terminal(flights(LANDED, CRASHED))).tolist()
    # Both sides end every second step, so the rates say nothing: an absorbed step is worth log(1 + ratio), nine times.
    staying = discriminator.reward(flights(LANDED)[:1]).item()
    assert landed - staying == pytest.approx(9 * math.log1p(3.0), rel=0.1)
    assert crashed - staying < 0.5
    assert {"expert_end_logit", "policy_end_logit"} <= metrics


def test_what_it_learned_is_saved() -> None:
    trained, fresh = make(demonstrations()), make(demonstrations())
    rollout = flights(LANDED, CRASHED)
    trained.update(rollout, demonstrations().transitions(), progress_remaining=1.0)
    fresh.load_state_dict(copy.deepcopy(trained.state_dict()))
    for _ in range(2):  # the second time after one more update of both: memory and optimiser are there, too
        torch.testing.assert_close(fresh.reward(rollout), trained.reward(rollout), rtol=0, atol=0)
        for discriminator in (trained, fresh):
            torch.manual_seed(1)
            discriminator.update(flights(CRASHED), demonstrations().transitions(), progress_remaining=1.0)


def test_states_with_and_without_one_are_not_mixed_up() -> None:
    having, lacking = make(demonstrations()), make(demonstrations(terminated=False))
    with pytest.raises(ValueError, match="with none of the classifiers that tell how episodes end, got one"):
        lacking.load_state_dict(having.state_dict())
    with pytest.raises(ValueError, match="with one of the classifiers that tell how episodes end, got none"):
        having.load_state_dict(lacking.state_dict())


def test_states_from_before_there_were_any_are_loaded() -> None:
    having, lacking = make(demonstrations()), make(demonstrations(terminated=False))
    for discriminator in (having, lacking):
        state = {name: part for name, part in discriminator.state_dict().items() if name != "ends"}
        with pytest.warns(UserWarning, match="learned anew") if discriminator is having else nullcontext():
            discriminator.load_state_dict(state)


def test_a_state_of_another_shape_changes_nothing() -> None:
    discriminator = make(demonstrations())
    before, state = copy.deepcopy(discriminator.state_dict()), copy.deepcopy(discriminator.state_dict())
    state["network"] = {name: weights + 1 for name, weights in state["network"].items()}
    state["ends"]["policy"] = state["ends"]["policy"][:, :-1]
    with pytest.raises(ValueError, match=r"expected remembered ends of \d+ numbers, got \d+"):
        discriminator.load_state_dict(state)
    for name, weights in discriminator.network.state_dict().items():
        torch.testing.assert_close(weights, before["network"][name], rtol=0, atol=0)
