"""The discriminator: its optimum, its work, its settings and its state."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from scripted import Keyed, Pictured, Scripted, demonstrations_of
from torch import Tensor, nn

from sb3_gail import Demonstrations, Discriminator, DiscriminatorConfig, Transitions
from sb3_gail.adversaries import FrozenReward
from sb3_gail.encoder import TransitionEncoder
from sb3_gail.rewards import fairl_reward
from sb3_gail.transitions import Array
from sb3_gail.wrappers import GAILRewardWrapper

N_STATES, N_ACTIONS = 3, 2
# How often each state and action occurs among 60 transitions of either side.
EXPERT_COUNTS = np.array([[20, 10], [5, 5], [15, 5]])
POLICY_COUNTS = np.array([[5, 15], [20, 4], [6, 10]])
CELLS = [(state, action) for state in range(N_STATES) for action in range(N_ACTIONS)]


def occurring(counts: Array) -> Transitions:
    rows = [cell for cell in CELLS for _ in range(counts[cell])]
    states, actions = (np.array(column) for column in zip(*rows, strict=True))
    return Transitions(states, actions, np.zeros_like(states), np.zeros(len(rows), dtype=bool))


def tabular_demonstrations() -> Demonstrations:
    expert = occurring(EXPERT_COUNTS)
    return Demonstrations.from_arrays(
        np.append(np.asarray(expert.observations), 0),
        np.asarray(expert.actions),
        lengths=[60],
        observation_space=spaces.Discrete(N_STATES),
        action_space=spaces.Discrete(N_ACTIONS),
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_its_optimum_is_the_log_density_ratio(smoothing: float) -> None:
    demonstrations = tabular_demonstrations()
    discriminator = Discriminator.from_demonstrations(
        demonstrations,
        hidden_sizes=(32,),
        learning_rate=lambda remaining: 3e-2 * remaining,
        batch_size=60,  # each a permutation of all of them
        transitions_per_step=2,
        gradient_penalty=0.0,
        label_smoothing=smoothing,
    )
    for iteration in range(40):
        discriminator.update(
            occurring(POLICY_COUNTS), demonstrations.transitions(), progress_remaining=1 - iteration / 40
        )
    logits = discriminator.logits(occurring(np.ones((N_STATES, N_ACTIONS), dtype=int))).reshape(N_STATES, N_ACTIONS)
    expert, policy = EXPERT_COUNTS / 60, POLICY_COUNTS / 60
    optimum = np.log((1 - smoothing) * expert + smoothing * policy) - np.log(
        (1 - smoothing) * policy + smoothing * expert
    )
    np.testing.assert_allclose(logits.cpu(), optimum, atol=0.02)
    metrics = discriminator.update(occurring(POLICY_COUNTS), demonstrations.transitions(), progress_remaining=0.0)
    d = 1 / (1 + np.exp(-optimum))
    on_expert = -expert * ((1 - smoothing) * np.log(d) + smoothing * np.log(1 - d))
    on_policy = -policy * ((1 - smoothing) * np.log(1 - d) + smoothing * np.log(d))
    assert metrics["loss"] == pytest.approx((on_expert.sum() + on_policy.sum()) / 2, abs=1e-3)
    assert metrics["expert_accuracy"] == pytest.approx(expert[optimum > 0].sum())
    assert metrics["policy_accuracy"] == pytest.approx(policy[optimum < 0].sum())


class Linear(nn.Module):
    """`w . x + 1`, with w of norm 5."""

    def __init__(self, encoder: TransitionEncoder) -> None:
        super().__init__()
        weights = torch.zeros(1, encoder.size)
        weights[0, 0], weights[0, 1] = 3.0, -4.0
        self.weight = nn.Parameter(weights)
        self.bias = nn.Parameter(torch.ones(1))

    def forward(self, columns: Tensor) -> Tensor:
        return (columns @ self.weight.T + self.bias).squeeze(1)


def test_the_parts_of_its_loss_and_its_metrics_worked_out_by_hand() -> None:
    demonstrations = tabular_demonstrations()
    discriminator = Discriminator.from_demonstrations(
        demonstrations,
        network=Linear,
        batch_size=60,
        transitions_per_step=60,
        gradient_penalty=0.5,
        gradient_norm=1.0,
        entropy_bonus=0.25,
        weight_decay=0.125,
        learning_rate=0.0,
    )
    # States 0, 1, 2 add 3, -4 and 0 to 1; actions add nothing.
    metrics = discriminator.update(occurring(POLICY_COUNTS), demonstrations.transitions(), progress_remaining=1.0)
    state_logits = np.array([4.0, -3.0, 1.0])
    expert, policy = EXPERT_COUNTS.sum(axis=1) / 60, POLICY_COUNTS.sum(axis=1) / 60
    d = 1 / (1 + np.exp(-state_logits))
    cross_entropy = -((expert * np.log(d)).sum() + (policy * np.log(1 - d)).sum()) / 2
    entropy = ((expert + policy) / 2 * -(d * np.log(d) + (1 - d) * np.log(1 - d))).sum()
    assert metrics["adversarial_loss"] == pytest.approx(cross_entropy, rel=1e-5)
    assert metrics["gradient_penalty"] == pytest.approx(0.5 * (5 - 1) ** 2, rel=1e-5)
    assert metrics["entropy_bonus"] == pytest.approx(-0.25 * entropy, rel=1e-5)
    assert metrics["weight_decay"] == pytest.approx(0.125 * 25 / 2, rel=1e-5)
    assert metrics["loss"] == pytest.approx(cross_entropy + 8 - 0.25 * entropy + 0.125 * 12.5, rel=1e-5)
    assert metrics["expert_accuracy"] == pytest.approx(expert[0] + expert[2])
    assert metrics["policy_accuracy"] == pytest.approx(policy[1])
    assert metrics["expert_logit"] == pytest.approx((expert * state_logits).sum(), rel=1e-5)
    assert metrics["policy_logit"] == pytest.approx((policy * state_logits).sum(), rel=1e-5)


def test_adams_first_step_is_the_learning_rate_against_the_gradient() -> None:
    demonstrations = tabular_demonstrations()
    discriminator = Discriminator.from_demonstrations(
        demonstrations, network=Linear, batch_size=60, transitions_per_step=60, gradient_penalty=0.0, learning_rate=0.25
    )
    discriminator.update(occurring(POLICY_COUNTS), demonstrations.transitions(), progress_remaining=1.0)
    weights = discriminator.network.get_parameter("weight").detach().cpu().ravel()
    # The expert is in state 0 more often than the policy, in 1 less, yet the first two logits are large and of opposite
    # sign: what counts is E_policy[D] - E_expert[1 - D] in each state.
    d = 1 / (1 + np.exp(-np.array([4.0, -3.0, 1.0])))
    gradient = POLICY_COUNTS.sum(axis=1) * d - EXPERT_COUNTS.sum(axis=1) * (1 - d)
    np.testing.assert_allclose(weights[:3], [3, -4, 0] - 0.25 * np.sign(gradient), rtol=1e-5)


def test_other_demonstrations_are_encoded_anew() -> None:
    demonstrations = tabular_demonstrations()
    settings: dict[str, Any] = {"batch_size": 60, "transitions_per_step": 60, "learning_rate": 0.0}
    discriminator = Discriminator.from_demonstrations(demonstrations, network=Linear, **settings)
    for counts in (EXPERT_COUNTS, POLICY_COUNTS, EXPERT_COUNTS):
        metrics = discriminator.update(occurring(POLICY_COUNTS), occurring(counts), progress_remaining=1.0)
        assert metrics["expert_logit"] == pytest.approx((counts.sum(axis=1) / 60 * [4, -3, 1]).sum(), rel=1e-5)


def vectors(n: int, seed: int = 0) -> Transitions:
    rng = np.random.default_rng(seed)
    observations = rng.normal(size=(n + 1, 4)).astype(np.float32)
    actions = rng.uniform(-0.5, 0.5, size=(n, 2)).astype(np.float32)
    return Transitions(observations[:-1], actions, observations[1:], np.zeros(n, dtype=bool))


def small(demonstrations: Demonstrations, **settings: Any) -> Discriminator:
    return Discriminator.from_demonstrations(
        demonstrations, **{"hidden_sizes": (8,), "batch_size": 4, "transitions_per_step": 3, **settings}
    )


def test_its_steps_follow_transitions_and_what_is_left_counts_later() -> None:
    demonstrations = demonstrations_of(Scripted())
    discriminator = small(demonstrations, batch_size=2, transitions_per_step=10)
    steps = []
    for n in (25, 4, 3, 3, 5, 30):
        metrics = discriminator.update(vectors(n), demonstrations.transitions(), progress_remaining=1.0)
        steps.append(len(np.atleast_1d(metrics.get("policy_logits", []))) // 2)
    assert steps == [2, 0, 1, 0, 1, 3]


def test_many_short_rollouts_make_as_many_steps_as_one_long() -> None:
    demonstrations = demonstrations_of(Scripted())
    discriminator = small(demonstrations, batch_size=16, transitions_per_step=3)
    seen: list[Array] = []
    encode = discriminator.encoder.forward

    def watched(transitions: Transitions) -> Tensor:
        if len(transitions) != len(demonstrations):
            seen.append(np.asarray(transitions.observations))
        return encode(transitions)

    discriminator.encoder.forward = watched  # type: ignore[method-assign]
    rollouts = [vectors(5, seed) for seed in range(12)]
    logits = 0
    for rollout in rollouts:
        metrics = discriminator.update(rollout, demonstrations.transitions(), progress_remaining=1.0)
        logits += len(np.atleast_1d(metrics.get("policy_logits", [])))
    assert logits == 16 * 60 // 3
    # Four rollouts of five make a batch of 16: all of them are used, each once.
    assert [len(rows) for rows in seen] == [20, 20, 20]
    expected = np.concatenate([np.asarray(rollout.observations) for rollout in rollouts])
    np.testing.assert_array_equal(np.concatenate(seen), expected)


def test_rollouts_too_short_for_a_step_are_used_later() -> None:
    demonstrations = demonstrations_of(Scripted())
    discriminator = small(demonstrations, batch_size=4, transitions_per_step=12)
    assert discriminator.update(vectors(6, 0), demonstrations.transitions(), progress_remaining=1.0) == {}
    kept = discriminator.state_dict()["pending"]
    np.testing.assert_array_equal(kept[0]["observations"], vectors(6, 0).observations)
    assert discriminator.update(vectors(6, 1), demonstrations.transitions(), progress_remaining=1.0)
    assert discriminator.state_dict()["pending"] == []


def test_metrics_are_means_over_all_minibatches() -> None:
    losses: list[float] = []

    def recording(policy: Tensor, expert: Tensor) -> Tensor:
        loss = policy.mean() - expert.mean()
        losses.append(loss.item())
        return loss

    demonstrations = demonstrations_of(Scripted())
    discriminator = small(demonstrations, loss=recording, gradient_penalty=0.0, learning_rate=0.1)
    metrics = discriminator.update(vectors(30), demonstrations.transitions(), progress_remaining=1.0)
    assert len(losses) == 10
    assert np.ptp(losses) > 0.1
    assert metrics["adversarial_loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    policy_logits, expert_logits = metrics["policy_logits"], metrics["expert_logits"]
    assert np.shape(policy_logits) == np.shape(expert_logits) == (40,)
    assert metrics["policy_logit"] == pytest.approx(np.mean(policy_logits), rel=1e-5)
    assert metrics["expert_accuracy"] == pytest.approx(np.mean(np.asarray(expert_logits) > 0))


def test_few_transitions_are_shuffled_again_and_all_seen_alike() -> None:
    demonstrations = demonstrations_of(Scripted(lengths=(3,)), n_episodes=1)
    discriminator = small(demonstrations, batch_size=8, transitions_per_step=1, learning_rate=0.0)
    metrics = discriminator.update(vectors(9), demonstrations.transitions(), progress_remaining=1.0)
    _, counts = np.unique(np.round(metrics["expert_logits"], 5), return_counts=True)
    assert counts.tolist() == [24, 24, 24]
    _, counts = np.unique(np.round(metrics["policy_logits"], 5), return_counts=True)
    assert counts.tolist() == [8] * 9


def test_schedules_get_the_progress_that_remains() -> None:
    asked: dict[str, list[float]] = {"rate": [], "penalty": []}

    def rate(progress_remaining: float) -> float:
        asked["rate"].append(progress_remaining)
        return 1e-2 * progress_remaining

    def penalty(progress_remaining: float) -> float:
        asked["penalty"].append(progress_remaining)
        return progress_remaining

    demonstrations = tabular_demonstrations()
    discriminator = Discriminator.from_demonstrations(
        demonstrations,
        network=Linear,
        batch_size=60,
        transitions_per_step=60,
        learning_rate=rate,
        gradient_penalty=penalty,
    )
    first = discriminator.update(occurring(POLICY_COUNTS), demonstrations.transitions(), progress_remaining=0.5)
    assert discriminator.optimizer.param_groups[0]["lr"] == pytest.approx(0.5e-2)
    assert first["gradient_penalty"] == pytest.approx(0.5 * 25, rel=1e-5)
    before = copy.deepcopy(discriminator.network.state_dict())
    last = discriminator.update(occurring(POLICY_COUNTS), demonstrations.transitions(), progress_remaining=0.0)
    assert "gradient_penalty" not in last
    assert asked == {"rate": [1.0, 0.5, 0.0], "penalty": [0.5, 0.0]}
    for name, value in discriminator.network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("reward", "function"),
    [
        ("gail", lambda logits: torch.log1p(torch.exp(logits))),
        ("log_d", lambda logits: -torch.log1p(torch.exp(-logits))),
        ("airl", lambda logits: logits),
        (torch.tanh, torch.tanh),
    ],
)
def test_its_reward_is_the_function_of_its_logits(reward: Any, function: Callable[[Tensor], Tensor]) -> None:
    discriminator = small(demonstrations_of(Scripted()), reward=reward)
    batch = vectors(50)
    rewards = discriminator.reward(batch)
    torch.testing.assert_close(rewards, function(discriminator.logits(batch)))
    assert rewards.shape == (50,)
    assert rewards.dtype == torch.float32
    assert not rewards.requires_grad


def test_more_rows_than_are_scored_at_once() -> None:
    discriminator = small(demonstrations_of(Scripted()))
    batch = vectors(4096 + 5)
    logits = discriminator.logits(batch)
    assert logits.shape == (4101,)
    torch.testing.assert_close(logits[4090:], discriminator.logits(batch[4090:]))


class Dropping(Linear):
    """Drops half of its input while it trains."""

    def forward(self, columns: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(columns, 0.5, self.training))


@pytest.mark.parametrize("settings", [{"spectral_norm": True}, {"network": Dropping}], ids=["spectral_norm", "dropout"])
def test_scoring_changes_nothing_and_is_repeatable(settings: dict[str, Any]) -> None:
    demonstrations = demonstrations_of(Scripted())
    discriminator = small(demonstrations, **settings)
    for _ in range(2):
        before = copy.deepcopy(discriminator.network.state_dict())
        first = discriminator.reward(vectors(20))
        torch.testing.assert_close(discriminator.reward(vectors(20)), first, rtol=0, atol=0)
        for name, value in discriminator.network.state_dict().items():
            torch.testing.assert_close(value, before[name], rtol=0, atol=0)
        discriminator.update(vectors(20), demonstrations.transitions(), progress_remaining=1.0)
        assert discriminator.network.training


@pytest.mark.parametrize("inputs", ["s", "sa", "ss'", "sas'"])
def test_it_judges_by_what_it_is_told_to_see(inputs: str) -> None:
    discriminator = small(demonstrations_of(Scripted()), inputs=inputs)
    batch = vectors(6)
    logits = discriminator.logits(batch)
    parts: dict[str, Any] = {"s": batch.observations, "a": batch.actions, "s'": batch.next_observations}
    for part, seen in {"s": True, "a": "a" in inputs, "s'": "s'" in inputs}.items():
        changed = {**parts, part: parts[part] + np.float32(1)}
        others = discriminator.logits(Transitions(changed["s"], changed["a"], changed["s'"], batch.terminated))
        assert bool((others != logits).all()) == seen


def same_state(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            same_state(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            same_state(a, b)
    elif isinstance(one, Tensor):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    else:
        assert one == other


@pytest.mark.parametrize("spectral_norm", [False, True])
def test_resumed_training_is_the_same_bit_for_bit(spectral_norm: bool, tmp_path: Path) -> None:
    demonstrations = demonstrations_of(Scripted())
    # A batch of 16 and rollouts of 9: some transitions and a part of a step always wait.
    settings = {"batch_size": 16, "transitions_per_step": 4, "spectral_norm": spectral_norm}
    trained = small(demonstrations, **settings)
    for seed in range(3):
        trained.update(vectors(9, seed), demonstrations.transitions(), progress_remaining=0.8)
    assert len(trained.state_dict()["pending"]) == 1
    assert trained.state_dict()["transitions_owed"] % 4 != 0
    trained.save(tmp_path / "discriminator.pt")

    other_expert = demonstrations_of(Scripted(), seed=5)
    resumed = small(other_expert, **settings)
    resumed.update(vectors(40), other_expert.transitions(), progress_remaining=0.9)
    resumed.load(tmp_path / "discriminator.pt")
    same_state(resumed.state_dict(), trained.state_dict())
    metrics = []
    for discriminator in (trained, resumed):
        torch.manual_seed(1)
        metrics.append(
            [
                discriminator.update(vectors(9, seed), demonstrations.transitions(), progress_remaining=0.5)
                for seed in range(3, 7)
            ]
        )
    for ours, theirs in zip(*metrics, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name])
    same_state(resumed.state_dict(), trained.state_dict())
    torch.testing.assert_close(resumed.reward(vectors(9)), trained.reward(vectors(9)), rtol=0, atol=0)


def test_demonstrations_are_encoded_anew_after_loading_another_normaliser() -> None:
    demonstrations, others = demonstrations_of(Scripted()), demonstrations_of(Scripted(), n_episodes=9, seed=5)
    expert = demonstrations.transitions()
    one, other = (small(part, network=Linear, learning_rate=0.0) for part in (demonstrations, others))
    one.update(vectors(30), expert, progress_remaining=1.0)
    one.load_state_dict(other.state_dict())
    torch.manual_seed(0)
    got = one.update(vectors(30), expert, progress_remaining=1.0)
    torch.manual_seed(0)
    assert got["expert_logit"] == other.update(vectors(30), expert, progress_remaining=1.0)["expert_logit"]


def test_its_file_holds_plain_numbers_alone(tmp_path: Path) -> None:
    demonstrations = demonstrations_of(Keyed())
    discriminator = small(demonstrations, batch_size=100)
    discriminator.update(demonstrations.transitions(), demonstrations.transitions(), progress_remaining=1.0)
    discriminator.save(tmp_path / "discriminator.pt")
    state = torch.load(tmp_path / "discriminator.pt", weights_only=True)
    assert {"network", "encoder", "optimizer", "pending"} <= state.keys()
    assert {"observations.place", "observations.time", "actions", "terminated"} <= state["pending"][0].keys()
    other = small(demonstrations)
    other.load(tmp_path / "discriminator.pt")
    same_state(other.state_dict(), discriminator.state_dict())


def test_a_state_of_other_shapes_is_refused() -> None:
    demonstrations = demonstrations_of(Scripted())
    state = small(demonstrations).state_dict()
    state["network"] = small(demonstrations, hidden_sizes=(9,)).state_dict()["network"]
    with pytest.raises(ValueError, match="expected a state with tensors of the shapes"):
        small(demonstrations).load_state_dict(state)


@pytest.mark.parametrize(
    "settings",
    [{"reward": "log_d"}, {"activation": "relu"}, {"absorbing_states": False}, {"inputs": "s"}, {"hidden_sizes": (9,)}],
)
def test_a_state_of_other_settings_is_refused(settings: dict[str, Any]) -> None:
    demonstrations = demonstrations_of(Scripted())
    discriminator = small(demonstrations)
    before = discriminator.logits(demonstrations.transitions())
    with pytest.raises(ValueError, match="expected the state of a discriminator with the settings"):
        discriminator.load_state_dict(small(demonstrations, **settings).state_dict())
    torch.testing.assert_close(discriminator.logits(demonstrations.transitions()), before, rtol=0, atol=0)


def test_a_function_is_known_wherever_it_is_written() -> None:
    def clamped(logits: Tensor) -> Tensor:
        return logits.clamp(-2, 2)

    def elsewhere() -> dict[str, Any]:
        def clamped(logits: Tensor) -> Tensor:
            return logits.clamp(-2, 2)

        return small(demonstrations, reward=clamped).state_dict()

    demonstrations = demonstrations_of(Scripted())
    small(demonstrations, reward=clamped).load_state_dict(elsewhere())
    with pytest.raises(ValueError, match=r"'reward': 'clamped'.*got one with .*'reward': 'tanh'"):
        small(demonstrations, reward=clamped).load_state_dict(small(demonstrations, reward=torch.tanh).state_dict())


def test_a_state_pays_the_same_in_a_discriminator_of_other_demonstrations() -> None:
    whole = demonstrations_of(Scripted(), n_episodes=3)
    trained, other = small(whole, gamma=0.9), small(whole.take(1))
    rollout = whole.transitions()[:]
    terminated = dataclasses.replace(rollout, terminated=np.arange(len(rollout)) % 3 == 0)
    trained.update(terminated, whole.transitions(), progress_remaining=1.0)
    other.load_state_dict(trained.state_dict())
    torch.testing.assert_close(other.reward(terminated), trained.reward(terminated), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_sizes": 64}, "hidden_sizes must be a tuple of widths"),
        ({"learning_rate": "x"}, "learning_rate must be a number, .* got 'x'"),
        ({"gradient_penalty": None}, "gradient_penalty must be a number, .* got None"),
        ({"gradient_norm": "1"}, "gradient_norm must be a number, got '1'"),
        ({"absorbing_states": "false"}, "absorbing_states must be True or False, got 'false'"),
        ({"spectral_norm": 2}, "spectral_norm must be True or False, got 2"),
        ({"label_smoothing": "0.1"}, "label_smoothing must be a number, got '0.1'"),
        ({"expert_termination_rate": "0"}, "expert_termination_rate must be a number, got '0'"),
        ({"gamma": True}, "gamma must be a number, got True"),
        ({"reward": lambda logits: logits.numpy()}, r"reward must map logits .* to a tensor"),
    ],
)
def test_settings_of_other_types_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        DiscriminatorConfig(**settings)


def test_a_reward_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"as many rewards \[B\], got the shape \(3, 1\)"):
        DiscriminatorConfig(reward=lambda logits: logits[:, None])


@pytest.mark.parametrize("reward", [lambda logits: logits - logits.mean(), lambda logits: logits / logits.std()])
def test_a_reward_that_looks_at_the_rest_of_the_batch_is_refused(reward: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(ValueError, match="reward must map each logit by itself"):
        DiscriminatorConfig(reward=reward)


def test_a_network_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a network that takes encoded transitions of shape \(2, \d+\), .*5"):
        small(demonstrations_of(Scripted()), network=lambda encoder: nn.Linear(5, 1))
    with pytest.raises(ValueError, match=r"to numbers of shape \(2,\), got \(2, 1\); end it with squeeze"):
        small(demonstrations_of(Scripted()), network=lambda encoder: nn.Linear(encoder.size, 1))
    encoder = small(demonstrations_of(Scripted())).encoder
    with pytest.raises(ValueError, match=r"to numbers of shape \(2,\), got \(2, 1\)"):
        FrozenReward(encoder, nn.Linear(encoder.size, 1, device=encoder.mean.device))


def test_numpys_numbers_and_objects_that_are_called_can_be_saved_and_loaded(tmp_path: Path) -> None:
    demonstrations = demonstrations_of(Scripted())
    settings = {
        "learning_rate": lambda progress: 3e-4 * np.sqrt(progress),
        "gamma": np.float64(0.9),
        "absorbing_states": np.bool_(True),
        "batch_size": np.int64(8),
        "transitions_per_step": np.int64(8),
        "hidden_sizes": (np.int64(8),),
    }
    trained, other = (small(demonstrations, **settings, reward=nn.Softplus()) for _ in range(2))
    rollout = demonstrations.transitions()
    trained.use_discount(np.float64(0.98))
    trained.update(rollout[np.arange(60) % len(rollout)], rollout, progress_remaining=0.5)
    trained.save(tmp_path / "discriminator.pt")
    other.load(tmp_path / "discriminator.pt")
    torch.testing.assert_close(other.logits(rollout), trained.logits(rollout), rtol=0, atol=0)


def test_what_is_no_demonstrations_or_no_factory_is_refused() -> None:
    with pytest.raises(TypeError, match="demonstrations must be Demonstrations"):
        Discriminator.from_demonstrations("hopper.npz")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="network must be a function of the encoder"):
        small(demonstrations_of(Scripted()), network=torch.nn.Linear(2, 1))


def test_an_environment_of_other_spaces_is_refused() -> None:
    discriminator = small(demonstrations_of(Scripted()))
    env = gym.make("CartPole-v1")
    with pytest.raises(ValueError, match="expected an environment whose actions are like those"):
        discriminator.check_spaces(env.observation_space, env.action_space)
    with pytest.raises(ValueError, match="expected an environment whose actions are like those"):
        GAILRewardWrapper(env, discriminator)


def test_the_learners_discount_is_taken_over() -> None:
    demonstrations = demonstrations_of(Scripted())
    given, told = small(demonstrations, gamma=0.5), small(demonstrations)
    told.load_state_dict(given.state_dict() | {"absorbing": told.state_dict()["absorbing"]})
    told.use_discount(0.5)
    rollout = dataclasses.replace(demonstrations.transitions()[:], terminated=np.ones(len(demonstrations), bool))
    torch.testing.assert_close(told.reward(rollout), given.reward(rollout))
    with pytest.raises(ValueError, match=r"a gamma below 1, got 1\.0"):
        told.use_discount(1.0)


def test_a_reward_that_would_pay_for_a_rare_end_has_no_absorbing_states() -> None:
    demonstrations = demonstrations_of(Scripted())
    discriminator = small(demonstrations, reward="fairl", expert_termination_rate=0.0)
    rollout = demonstrations.transitions()[:]
    ended = dataclasses.replace(rollout, terminated=np.ones(len(demonstrations), bool))
    torch.testing.assert_close(discriminator.reward(ended), fairl_reward(discriminator.logits(rollout)))


DUPLICATES: dict[str, Callable[[Discriminator], Discriminator]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda discriminator: pickle.loads(pickle.dumps(discriminator)),
    "cloudpickle": lambda discriminator: pickle.loads(cloudpickle.dumps(discriminator)),
}


@pytest.mark.parametrize("spectral_norm", [False, True])
@pytest.mark.parametrize("way", DUPLICATES)
def test_copies_score_alike_and_train_by_themselves(way: str, spectral_norm: bool) -> None:
    demonstrations = demonstrations_of(Scripted())
    discriminator = small(demonstrations, spectral_norm=spectral_norm)
    discriminator.update(vectors(30), demonstrations.transitions(), progress_remaining=1.0)
    duplicate = DUPLICATES[way](discriminator)
    assert duplicate.identity == discriminator.identity
    before = discriminator.reward(vectors(20))
    torch.testing.assert_close(duplicate.reward(vectors(20)), before, rtol=0, atol=0)
    duplicate.update(vectors(30), demonstrations.transitions(), progress_remaining=1.0)
    assert (duplicate.reward(vectors(20)) != before).any()
    torch.testing.assert_close(discriminator.reward(vectors(20)), before, rtol=0, atol=0)


def test_a_copy_leaves_the_encoded_demonstrations_behind() -> None:
    demonstrations = demonstrations_of(Scripted(lengths=(2000,)))
    discriminator = small(demonstrations)
    size = len(pickle.dumps(discriminator))
    discriminator.update(vectors(3), demonstrations.transitions(), progress_remaining=1.0)
    discriminator.update(vectors(3), demonstrations.transitions(), progress_remaining=1.0)
    assert len(pickle.dumps(discriminator)) < size + 20_000


def test_functions_of_any_kind_are_copied_to_workers() -> None:
    discriminator = small(demonstrations_of(Scripted()), reward=lambda logits: 2 * logits)
    batch = vectors(5)
    duplicate = pickle.loads(cloudpickle.dumps(discriminator))
    torch.testing.assert_close(duplicate.reward(batch), 2 * discriminator.logits(batch))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inputs": "as"}, r"inputs must be one of 's', 'sa', \"ss'\", \"sas'\", got 'as'"),
        ({"activation": "swish"}, r"activation must be one of 'tanh', 'relu', 'leaky_relu', got 'swish'"),
        ({"reward": "wail"}, r"reward must be one of gail, .*, got 'wail'"),
        ({"hidden_sizes": ()}, r"hidden_sizes must be positive widths, at least one, got \(\)"),
        ({"hidden_sizes": (8, 0)}, r"hidden_sizes .* got \(8, 0\)"),
        ({"batch_size": 0}, r"batch_size must be a positive whole number, got 0"),
        ({"batch_size": 2.5}, r"batch_size .* got 2.5"),
        ({"transitions_per_step": -1}, r"transitions_per_step .* got -1"),
        ({"learning_rate": -1e-3}, r"learning_rate must be a finite number of at least 0, got -0.001"),
        ({"learning_rate": (1e-3, -1e-3)}, r"learning_rate must be a finite number of at least 0, got -0.001"),
        ({"gradient_norm": -1.0}, r"gradient_norm .* got -1.0"),
        ({"gradient_penalty": float("nan")}, r"gradient_penalty .* got nan"),
        ({"entropy_bonus": float("inf")}, r"entropy_bonus .* got inf"),
        ({"weight_decay": -1.0}, r"weight_decay .* got -1.0"),
        ({"smallest_deviation": -0.1}, r"smallest_deviation .* got -0.1"),
        ({"expert_termination_rate": 1.5}, r"expert_termination_rate must lie in \[0, 1\], got 1.5"),
        ({"label_smoothing": 0.5}, r"label_smoothing must lie in \[0, 0.5\), got 0.5"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DiscriminatorConfig(**settings)


def test_settings_that_do_not_exist_are_refused() -> None:
    with pytest.raises(TypeError, match="learning_rte"):
        Discriminator.from_demonstrations(demonstrations_of(Scripted()), learning_rte=1e-3)


@pytest.mark.parametrize("device", ["nonsense", "cuda:99", *([] if torch.cuda.is_available() else ["cuda"])])
def test_a_device_that_does_not_exist_is_refused(device: str) -> None:
    with pytest.raises(ValueError, match=f"device must be one that exists here, got '{device}'"):
        small(demonstrations_of(Scripted()), device=device)


@pytest.mark.parametrize("device", ["auto", "cpu", torch.device("cpu")])
def test_devices_that_exist(device: Any) -> None:
    discriminator = small(demonstrations_of(Scripted()), device=device)
    expected = "cuda" if device == "auto" and torch.cuda.is_available() else "cpu"
    assert discriminator.device.type == discriminator.logits(vectors(3)).device.type == expected


@pytest.mark.parametrize("inputs", ["sa", "ss'"])
def test_it_learns_from_images(inputs: str) -> None:
    demonstrations = demonstrations_of(Pictured(lengths=(6,)), n_episodes=4)
    expert = demonstrations.transitions()
    pictures = np.asarray(expert.observations)
    policy = Transitions(255 - pictures, expert.actions, 255 - pictures, expert.terminated)
    discriminator = small(demonstrations, inputs=inputs, batch_size=8, transitions_per_step=2, learning_rate=3e-4)
    for _ in range(8):
        metrics = discriminator.update(policy, expert, progress_remaining=1.0)
    assert metrics["expert_accuracy"] == metrics["policy_accuracy"] == 1.0
    assert (discriminator.logits(expert) > 0).all()
    assert (discriminator.logits(policy) < 0).all()


def test_it_learns_from_dict_observations() -> None:
    demonstrations = demonstrations_of(Keyed(lengths=(6,)), n_episodes=4)
    expert = demonstrations.transitions()
    assert isinstance(expert.observations, dict)
    late = {**expert.observations, "time": np.asarray(expert.observations["time"]) + np.float32(5)}
    policy = Transitions(late, expert.actions, expert.next_observations, expert.terminated)
    discriminator = small(demonstrations, batch_size=8, transitions_per_step=1, learning_rate=1e-2)
    for _ in range(4):
        metrics = discriminator.update(policy, expert, progress_remaining=1.0)
    assert metrics["expert_accuracy"] == metrics["policy_accuracy"] == 1.0
