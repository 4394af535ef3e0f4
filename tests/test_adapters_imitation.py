from __future__ import annotations

import pickle
import sys
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from spaces_env import BOX, DICT, IMAGE, VECTOR, random_demonstrations
from torch import nn

from sb3_gail import Demonstrations, Discriminator, Transitions
from sb3_gail.adapters import (
    RewardNetNetwork,
    from_imitation_trajectories,
    from_imitation_transitions,
    to_imitation_trajectories,
    to_imitation_transitions,
)
from sb3_gail.transitions import map_observations

SPACES = [(VECTOR, BOX), (IMAGE, spaces.Discrete(3)), (DICT, spaces.MultiDiscrete([2, 3]))]


@pytest.fixture
def imitation() -> Any:
    """The library's modules that the tests use."""
    pytest.importorskip("imitation")
    from imitation.data import rollout, types
    from imitation.rewards import reward_nets

    class Modules:
        pass

    modules: Any = Modules()
    modules.rollout, modules.types, modules.reward_nets = rollout, types, reward_nets
    return modules


def demonstrations_of(observation_space: Any, action_space: Any, *, rewards: bool = False) -> Demonstrations:
    """Two episodes, of which the first terminated."""
    plain = random_demonstrations(observation_space, action_space)
    return Demonstrations.from_arrays(
        plain.whole.observations,
        plain.whole.actions,
        lengths=plain.lengths,
        terminated=plain.whole.terminated,
        rewards=np.arange(20.0) if rewards else None,
        observation_space=observation_space,
        action_space=action_space,
    )


def assert_same_rows(left: Any, right: Any) -> None:
    def check(one: Any, other: Any) -> None:
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
        assert one.dtype == other.dtype

    map_observations(check, left, right)


def assert_same_transitions(left: Transitions, right: Transitions) -> None:
    for part in ("observations", "actions", "next_observations", "terminated"):
        assert_same_rows(getattr(left, part), getattr(right, part))


@pytest.mark.parametrize("rewards", [True, False])
@pytest.mark.parametrize(("observation_space", "action_space"), SPACES, ids=["vector", "image", "dict"])
def test_trajectories_there_and_back(imitation: Any, observation_space: Any, action_space: Any, rewards: bool) -> None:
    demonstrations = demonstrations_of(observation_space, action_space, rewards=rewards)
    trajectories = to_imitation_trajectories(demonstrations)
    assert [type(trajectory) for trajectory in trajectories] == [
        imitation.types.TrajectoryWithRew if rewards else imitation.types.Trajectory
    ] * 2
    assert [trajectory.terminal for trajectory in trajectories] == [True, True]
    back = from_imitation_trajectories(trajectories, observation_space=observation_space, action_space=action_space)
    assert_same_transitions(back.transitions(), demonstrations.transitions())
    np.testing.assert_array_equal(back.lengths, demonstrations.lengths)
    np.testing.assert_array_equal(back.whole.terminated, [True, False])
    np.testing.assert_array_equal(back.whole.truncated, [False, True])
    if rewards:
        np.testing.assert_array_equal(back.returns, [45.0, 145.0])
    else:
        assert back.returns is None


@pytest.mark.parametrize(("observation_space", "action_space"), SPACES, ids=["vector", "image", "dict"])
def test_transitions_are_those_of_the_trajectories(imitation: Any, observation_space: Any, action_space: Any) -> None:
    demonstrations = demonstrations_of(observation_space, action_space)
    expected = imitation.rollout.flatten_trajectories(to_imitation_trajectories(demonstrations))
    transitions = to_imitation_transitions(demonstrations)
    np.testing.assert_array_equal(transitions.acts, expected.acts)
    np.testing.assert_array_equal(transitions.dones, expected.dones)
    np.testing.assert_array_equal(transitions.infos, expected.infos)
    for name in ("obs", "next_obs"):
        left, right = getattr(transitions, name), getattr(expected, name)
        assert left == right if observation_space is DICT else np.array_equal(left, right)


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize(("observation_space", "action_space"), SPACES, ids=["vector", "image", "dict"])
def test_transitions_there_and_back(imitation: Any, observation_space: Any, action_space: Any, every: int) -> None:
    demonstrations = demonstrations_of(observation_space, action_space).subsample(every, seed=1)
    transitions = to_imitation_transitions(demonstrations)
    back = from_imitation_transitions(transitions, observation_space=observation_space, action_space=action_space)
    assert_same_transitions(back.transitions(), demonstrations.transitions())
    assert back.n_episodes == (2 if every == 1 else len(demonstrations))


@pytest.mark.parametrize(("observation_space", "action_space"), SPACES, ids=["vector", "image", "dict"])
def test_a_single_transition(imitation: Any, observation_space: Any, action_space: Any) -> None:
    demonstrations = demonstrations_of(observation_space, action_space)
    alone = demonstrations.subsample(len(demonstrations), seed=0).take(1)
    transitions = to_imitation_transitions(alone)
    assert len(transitions) == 1
    back = from_imitation_transitions(transitions, observation_space=observation_space, action_space=action_space)
    assert_same_transitions(back.transitions(), alone.transitions())


def test_transitions_whose_neighbours_only_look_alike(imitation: Any) -> None:
    """An episode that is done ends there, though the next one begins where it stopped."""
    transitions = imitation.types.Transitions(
        obs=np.array([[0], [1], [2]], np.float32),
        acts=np.array([[0], [0], [0]], np.float32),
        infos=np.array([{}, {}, {}]),
        next_obs=np.array([[1], [2], [3]], np.float32),
        dones=np.array([False, True, False]),
    )
    back = from_imitation_transitions(transitions)
    np.testing.assert_array_equal(back.lengths, [2, 1])
    np.testing.assert_array_equal(back.whole.terminated, [True, False])


def test_the_demonstrations_own_arrays_stay_writable(imitation: Any) -> None:
    demonstrations = demonstrations_of(VECTOR, BOX)
    to_imitation_transitions(demonstrations)
    assert demonstrations.whole.actions.flags.writeable


def test_imitations_own_rollouts_are_read(imitation: Any) -> None:
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env

    from sb3_gail.rollouts import as_vec_env

    venv = as_vec_env(make_vec_env("CartPole-v1", 2, seed=0))
    model = PPO("MlpPolicy", venv, seed=0)
    trajectories = imitation.rollout.generate_trajectories(
        model.policy, venv, imitation.rollout.make_min_episodes(4), rng=np.random.default_rng(0)
    )
    demonstrations = from_imitation_trajectories(trajectories, env_id="CartPole-v1")
    demonstrations.check_spaces(venv.observation_space, venv.action_space)
    np.testing.assert_array_equal(demonstrations.returns, demonstrations.lengths)
    assert demonstrations.whole.terminated.all()


def test_without_infos_the_environments_time_limit_tells_which_episodes_were_cut(imitation: Any) -> None:
    trajectories = [
        imitation.types.Trajectory(obs=np.zeros((n + 1, 4)), acts=np.zeros(n, int), infos=None, terminal=True)
        for n in (500, 30)
    ]
    known = from_imitation_trajectories(trajectories, env_id="CartPole-v1")
    np.testing.assert_array_equal(known.whole.terminated, [False, True])
    with pytest.warns(UserWarning, match="2 of 2 trajectories are terminal and have no infos"):
        unknown = from_imitation_trajectories(trajectories, action_space=spaces.Discrete(2))
    np.testing.assert_array_equal(unknown.whole.terminated, [True, True])


def test_subsampled_demonstrations_are_no_trajectories(imitation: Any) -> None:
    with pytest.raises(ValueError, match="use to_imitation_transitions"):
        to_imitation_trajectories(demonstrations_of(VECTOR, BOX).subsample(2))


def test_a_missing_imitation_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imitation.data.types", None)
    for convert in (to_imitation_trajectories, to_imitation_transitions):
        with pytest.raises(ImportError, match=r"pip install 'sb3-gail\[imitation\]'"):
            convert(demonstrations_of(VECTOR, BOX))


def reward_net_discriminator(demonstrations: Demonstrations, net: nn.Module, **settings: Any) -> Discriminator:
    return Discriminator.from_demonstrations(
        demonstrations,
        network=lambda encoder: RewardNetNetwork(encoder, net),
        **settings,
    )


@pytest.mark.parametrize("action_space", [BOX, spaces.Discrete(3), spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(3)])
def test_the_logit_is_the_nets_reward_of_what_it_would_preprocess(imitation: Any, action_space: Any) -> None:
    demonstrations = demonstrations_of(VECTOR, action_space)
    net = imitation.reward_nets.BasicRewardNet(VECTOR, action_space, use_next_state=True)
    discriminator = reward_net_discriminator(demonstrations, net, inputs="sas'", smallest_deviation=0.0)
    transitions = demonstrations.transitions()

    def standardised(rows: Any, fitted: Any) -> Any:
        return (np.asarray(rows) - np.asarray(fitted).mean(axis=0)) / np.asarray(fitted).std(axis=0)

    actions = np.asarray(transitions.actions)
    state, action, next_state, done = net.preprocess(
        standardised(transitions.observations, transitions.observations),
        standardised(actions, actions) if action_space is BOX else actions,
        standardised(transitions.next_observations, transitions.observations),
        np.zeros(20),
    )
    with torch.no_grad():
        expected = net(state.float(), action.float(), next_state.float(), done)
    torch.testing.assert_close(discriminator.logits(transitions), expected, rtol=1e-3, atol=1e-4)


def test_images_keep_the_environments_channel_order(imitation: Any) -> None:
    demonstrations = demonstrations_of(IMAGE, spaces.Discrete(3))
    net = imitation.reward_nets.CnnRewardNet(IMAGE, spaces.Discrete(3), hid_channels=(4,))
    discriminator = reward_net_discriminator(demonstrations, net)
    transitions = demonstrations.transitions()
    arguments = net.preprocess(
        np.asarray(transitions.observations),
        np.asarray(transitions.actions),
        np.asarray(transitions.next_observations),
        np.zeros(20),
    )
    with torch.no_grad():
        torch.testing.assert_close(discriminator.logits(transitions), net(*arguments))


def test_a_reward_net_learns_as_a_discriminator(imitation: Any) -> None:
    demonstrations = demonstrations_of(VECTOR, BOX)
    net = imitation.reward_nets.BasicRewardNet(VECTOR, BOX, hid_sizes=(16,))
    discriminator = reward_net_discriminator(
        demonstrations, net, batch_size=20, transitions_per_step=1, learning_rate=0.01
    )
    expert = demonstrations.transitions()
    policy = Transitions(expert.observations, -np.asarray(expert.actions), expert.next_observations, expert.terminated)
    for _ in range(10):
        metrics = discriminator.update(policy, expert, progress_remaining=1.0)
    assert metrics["expert_accuracy"] > 0.8
    assert discriminator.logits(expert).mean() > 0 > discriminator.logits(policy).mean()

    other = reward_net_discriminator(demonstrations, imitation.reward_nets.BasicRewardNet(VECTOR, BOX, hid_sizes=(16,)))
    other.load_state_dict(discriminator.state_dict())
    torch.testing.assert_close(other.logits(expert), discriminator.logits(expert))
    copy = pickle.loads(pickle.dumps(discriminator))
    torch.testing.assert_close(copy.logits(expert), discriminator.logits(expert))


def test_reward_nets_that_read_done_are_refused(imitation: Any) -> None:
    nets = imitation.reward_nets
    demonstrations = demonstrations_of(VECTOR, BOX)
    for net in (nets.BasicRewardNet(VECTOR, BOX, use_done=True), nets.BasicShapedRewardNet(VECTOR, BOX)):
        with pytest.raises(ValueError, match="does not read `done`"):
            reward_net_discriminator(demonstrations, net, inputs="sas'")
    images = demonstrations_of(IMAGE, spaces.Discrete(3))
    for use_action in (True, False):
        net = nets.CnnRewardNet(IMAGE, spaces.Discrete(3), use_done=True, use_action=use_action)
        with pytest.raises(ValueError, match="does not read `done`"):
            reward_net_discriminator(images, net)


def test_reward_nets_that_read_what_is_not_there_are_refused(imitation: Any) -> None:
    net = imitation.reward_nets.BasicRewardNet(VECTOR, BOX, use_next_state=True)
    with pytest.raises(ValueError, match='also reads next_state; make the discriminator with inputs="sas\'"'):
        reward_net_discriminator(demonstrations_of(VECTOR, BOX), net)
    with pytest.raises(ValueError, match="also reads action; make the discriminator with inputs='sa' or"):
        reward_net_discriminator(
            demonstrations_of(VECTOR, BOX), imitation.reward_nets.BasicRewardNet(VECTOR, BOX), inputs="s"
        )


def test_dict_observations_are_refused() -> None:
    with pytest.raises(ValueError, match=r"takes arrays, got dict observations with keys \['image', 'vector'\]"):
        reward_net_discriminator(demonstrations_of(DICT, BOX), nn.Linear(1, 1))


def test_nets_of_another_shape_are_refused() -> None:
    class Wide(nn.Module):
        def forward(self, state: Any, action: Any, next_state: Any, done: Any) -> Any:
            return state

    with pytest.raises(ValueError, match=r"rewards of shape \(2,\), got .*\[2, 3\]"):
        reward_net_discriminator(demonstrations_of(VECTOR, BOX), Wide())
