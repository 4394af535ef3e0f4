"""Demonstrations: in from every source, out as transitions, and back from their own files."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_gail.demonstrations import Demonstrations
from sb3_gail.npz import read_npz, write_npz

DEMOS = Path(__file__).resolve().parents[2] / "shared" / "demos"
LENGTHS = [5, 30, 12, 1]
STEPS = sum(LENGTHS)
# The observation of step t of episode i is (100 i + t, -t): every row tells where it belongs.
OBSERVATIONS = np.array([[100 * i + t, -t] for i, length in enumerate(LENGTHS) for t in range(length + 1)], np.float32)
ACTIONS = np.arange(STEPS) % 3
REWARDS = np.linspace(-1, 1, STEPS)
TERMINATED = np.array([True, False, True, False])
ACTION_SPACE = spaces.Discrete(3)


def made(**changes: Any) -> Demonstrations:
    parts = {"observations": OBSERVATIONS, "actions": ACTIONS, "lengths": LENGTHS, "rewards": REWARDS}
    settings = {**parts, "terminated": TERMINATED, "action_space": ACTION_SPACE, **changes}
    return Demonstrations.from_arrays(settings.pop("observations"), settings.pop("actions"), **settings)


def rows_of(demonstrations: Demonstrations) -> list[tuple[int, int]]:
    """The (episode, step) of each transition, read off its observation."""
    observations = np.asarray(demonstrations.transitions().observations)
    return [(int(row[0]) // 100, -int(row[1])) for row in observations]


def assert_same(one: Demonstrations, other: Demonstrations) -> None:
    assert repr(one) == repr(other)
    assert one.summary() == other.summary()
    assert (one.mean_return, one.env_id) == (other.mean_return, other.env_id)
    np.testing.assert_array_equal(one.kept, other.kept)
    for name in ("observations", "actions", "lengths", "terminated", "truncated", "rewards"):
        np.testing.assert_equal(getattr(one.whole, name), getattr(other.whole, name))
    assert one.whole.actions.dtype == other.whole.actions.dtype
    assert one.declared_observation_space == other.declared_observation_space
    assert one.declared_action_space == other.declared_action_space


# Transitions


def test_transitions_are_all_steps_with_the_true_last_observations() -> None:
    demonstrations = made()
    transitions = demonstrations.transitions()
    assert len(demonstrations) == len(transitions) == STEPS
    assert rows_of(demonstrations) == [(i, t) for i, length in enumerate(LENGTHS) for t in range(length)]
    following = np.asarray(transitions.next_observations) - np.asarray(transitions.observations)
    np.testing.assert_array_equal(following, np.tile([1, -1], (STEPS, 1)))
    np.testing.assert_array_equal(transitions.actions, ACTIONS)
    assert list(np.flatnonzero(np.asarray(transitions.terminated))) == [4, 46]  # the ends of episodes 0 and 2


def test_observations_and_next_observations_share_one_array() -> None:
    demonstrations = made()
    transitions = demonstrations.transitions()
    assert transitions.observations.array is OBSERVATIONS  # type: ignore[union-attr]
    assert transitions.next_observations.array is OBSERVATIONS  # type: ignore[union-attr]
    assert demonstrations.transitions() is transitions


def test_dict_observations() -> None:
    demonstrations = made(observations={"a": OBSERVATIONS, "b": np.arange(len(OBSERVATIONS), dtype=np.uint8)})
    transitions = demonstrations.take(2).subsample(3).transitions()
    assert isinstance(transitions.observations, dict)
    assert isinstance(transitions.next_observations, dict)
    rows = np.asarray(transitions.observations["b"]).astype(int)
    np.testing.assert_array_equal(OBSERVATIONS[rows], transitions.observations["a"])
    np.testing.assert_array_equal(rows + 1, transitions.next_observations["b"])


# Parts


def test_taking_keeps_the_experts_mean_of_the_whole() -> None:
    demonstrations = made()
    taken = demonstrations.take(2)
    assert (taken.n_episodes, len(taken), list(taken.lengths)) == (2, 35, [5, 30])
    np.testing.assert_allclose(taken.returns, [REWARDS[:5].sum(), REWARDS[5:35].sum()])  # type: ignore[arg-type]
    assert taken.mean_return == demonstrations.mean_return == pytest.approx(REWARDS.sum() / 4)
    assert (demonstrations.n_episodes, len(demonstrations)) == (4, STEPS)


def test_subsampling_keeps_every_kth_transition_from_an_offset() -> None:
    demonstrations = made().subsample(10, seed=3)
    rows = rows_of(demonstrations)
    for i, length in enumerate(LENGTHS):
        steps = [step for episode, step in rows if episode == i]
        assert steps == list(range(steps[0], length, 10))
        assert steps[0] < min(10, length)
    transitions = demonstrations.transitions()
    starts = np.cumsum(LENGTHS) - LENGTHS
    np.testing.assert_array_equal(transitions.actions, [ACTIONS[starts[i] + t] for i, t in rows])
    ends = [LENGTHS[i] == t + 1 and bool(TERMINATED[i]) for i, t in rows]
    np.testing.assert_array_equal(transitions.terminated, ends)
    assert list(demonstrations.lengths) == LENGTHS
    assert [len(episode) for episode in demonstrations.episodes()] == LENGTHS


def test_offsets_are_uniform_and_short_episodes_always_contribute() -> None:
    counts = np.zeros((4, 10), int)
    for seed in range(2000):
        rows = rows_of(made().subsample(10, seed))
        for i in range(4):
            counts[i, min(step for episode, step in rows if episode == i)] += 1
    assert counts[:, 0].min() > 0
    np.testing.assert_allclose(counts[0], [400] * 5 + [0] * 5, atol=100)  # of 5 steps: over all of them
    np.testing.assert_allclose(counts[1], [200] * 10, atol=70)
    np.testing.assert_allclose(counts[2], [200] * 10, atol=70)
    assert list(counts[3]) == [2000] + [0] * 9


def test_taking_and_subsampling_commute_and_compose() -> None:
    demonstrations = made()
    assert_same(demonstrations.take(2).subsample(4, seed=1), demonstrations.subsample(4, seed=1).take(2))
    twice = demonstrations.subsample(2).subsample(3)
    steps = [step for episode, step in rows_of(twice) if episode == 1]
    assert np.diff(steps).tolist() == [6] * (len(steps) - 1)
    assert {episode for episode, _ in rows_of(twice)} == {0, 1, 2, 3}
    assert_same(demonstrations.subsample(1), demonstrations)
    assert rows_of(demonstrations.subsample(5, seed=7)) == rows_of(demonstrations.subsample(5, seed=7))
    assert rows_of(demonstrations.subsample(5, seed=7)) != rows_of(demonstrations.subsample(5, seed=8))


def test_shuffling_leaves_the_marginals_alone() -> None:
    rng = np.random.default_rng(0)
    observations = np.repeat(rng.normal(size=(2001, 1)), 3, axis=1)
    actions = observations[:-1, :2] + 1
    source = Demonstrations.from_arrays(observations, actions, lengths=[2000], rewards=np.ones(2000))
    shuffled = source.shuffled(seed=1)
    columns = np.column_stack([shuffled.whole.observations[:-1], shuffled.whole.observations[1:]])  # type: ignore[index]
    columns = np.column_stack([columns, shuffled.whole.actions])
    correlations = np.corrcoef(columns, rowvar=False) - np.eye(8)
    assert np.abs(correlations).max() < 0.1
    np.testing.assert_array_equal(np.sort(shuffled.whole.observations, axis=0), np.sort(source.whole.observations, 0))  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.sort(shuffled.whole.actions, axis=0), np.sort(source.whole.actions, axis=0))
    assert shuffled.mean_return == source.mean_return
    np.testing.assert_array_equal(source.whole.observations, observations.astype(np.float32))
    assert len(source.subsample(20).shuffled()) == 100


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda d: d.take(0), ValueError, "expected 1 to 4, the number of episodes, got 0"),
        (lambda d: d.take(5), ValueError, "expected 1 to 4, the number of episodes, got 5"),
        (lambda d: d.take(2.0), TypeError, "n: expected an integer, got 2.0"),
        (lambda d: replace(d, kept=np.array([47])).take(3), ValueError, "n: expected episodes of .* got 3 without any"),
        (lambda d: d.subsample(0), ValueError, "every: expected at least 1, got 0"),
        (lambda d: d.subsample("20"), TypeError, "every: expected an integer, got '20'"),
    ],
)
def test_parts_that_there_are_not(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(made())


# Words


def test_repr_and_summary() -> None:
    demonstrations = made(env_id="Some-v0").take(2).subsample(5)
    text = repr(demonstrations)
    n = len(demonstrations)
    assert text.startswith(f"Demonstrations(Some-v0, 2 episodes, {n} of 35 transitions, observations float32[2], act")
    assert "no rewards" in repr(made(rewards=None))
    summary = demonstrations.summary()
    assert json.loads(json.dumps(summary)) == summary
    assert summary["n_transitions"] == n
    assert (summary["n_steps"], summary["mean_length"], summary["n_terminated"]) == (35, 17.5, 1)
    assert summary["mean_return"] == made().mean_return


def test_without_rewards() -> None:
    demonstrations = made(rewards=None)
    assert demonstrations.returns is None
    assert demonstrations.mean_return is None


# Sources


def test_episodes_in_and_out() -> None:
    demonstrations = made(env_id="Some-v0")
    again = Demonstrations.from_episodes(demonstrations.episodes(), env_id="Some-v0", action_space=ACTION_SPACE)
    assert_same(again, demonstrations)


def test_numbers_take_the_spaces_own_kind() -> None:
    image = spaces.Box(0, 255, (2,), np.uint8)
    demonstrations = made(observations=np.abs(OBSERVATIONS).astype(int) % 256, observation_space=image)
    assert demonstrations.whole.observations.dtype == np.uint8  # type: ignore[union-attr]
    double = made(
        observations=OBSERVATIONS.astype(np.float64), observation_space=spaces.Box(-999, 999, (2,), np.float64)
    )
    assert double.whole.observations.dtype == np.float32  # type: ignore[union-attr]
    assert double.observation_space.dtype == np.float64


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"action_space": spaces.Discrete(2)}, ValueError, r"actions: expected values from 0 to 1, .*got 2 at row 2"),
        ({"observation_space": spaces.Box(0, 1, (3,))}, ValueError, r"observations: expected the shape \(3,\)"),
        ({"observation_space": spaces.Tuple([])}, TypeError, "observation_space: expected a Box"),
        ({"action_space": 3}, TypeError, "action_space: expected a Box"),
        ({"env_id": 3}, TypeError, "env_id: expected a string, got 3"),
        ({"lengths": [5, 30, 12]}, ValueError, "expected 50 rows"),
    ],
)
def test_sources_that_do_not_fit(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        made(**changes)


# Files


def variants() -> dict[str, Demonstrations]:
    images = np.random.default_rng(0).integers(0, 256, (len(OBSERVATIONS), 4, 5, 3), dtype=np.uint8)
    both = {"image": images, "with.dot": OBSERVATIONS}
    box = spaces.Dict({"image": spaces.Box(0, 255, (4, 5, 3), np.uint8), "with.dot": spaces.Box(-999, 999, (2,))})
    return {
        "whole": made(env_id="Some-v0"),
        "subsampled": made().take(3).subsample(4),
        "shuffled": made().shuffled(),
        "without rewards": made(rewards=None),
        "dict": made(observations=both, observation_space=box).subsample(2),
        "images": made(observations=images),
        "continuous": made(actions=np.linspace(-1, 1, STEPS)[:, None], action_space=None),
    }


@pytest.mark.parametrize("name", variants())
def test_a_file_gives_the_same_back(tmp_path: Path, name: str) -> None:
    demonstrations = variants()[name]
    demonstrations.save(tmp_path / "file.npz")
    loaded = Demonstrations.load(tmp_path / "file.npz")
    assert_same(loaded, demonstrations)
    assert [path.name for path in tmp_path.iterdir()] == ["file.npz"]


def test_a_file_is_readable_as_the_format_says(tmp_path: Path) -> None:
    made(env_id="Some-v0").take(3).subsample(4).save(tmp_path / "file.npz")
    with np.load(tmp_path / "file.npz", allow_pickle=False) as file:
        assert file["observations"].shape == (50, 2)
        assert file["actions"].shape == (47,)
        assert (str(file["rewards"].dtype), str(file["lengths"].dtype)) == ("float64", "int64")
        assert list(file["terminated"]) == [True, False, True]
        assert list(file["truncated"]) == [False, True, False]
        assert str(file["env_id"]) == "Some-v0"


def test_loading_makes_no_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(env_id="CartPole-v1", action_space=None).save(tmp_path / "file.npz")

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("made an environment")

    monkeypatch.setattr(gym, "make", refuse)
    demonstrations = Demonstrations.load(tmp_path / "file.npz").take(2).subsample(3)
    demonstrations.transitions()
    demonstrations.save(tmp_path / "again.npz")
    demonstrations.check_spaces(spaces.Box(-np.inf, np.inf, (2,)), ACTION_SPACE)
    assert "CartPole-v1" in repr(demonstrations)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": None}, r"expected the arrays .*actions and lengths, got \["),
        ({"observations": None}, "expected the arrays observations"),
        ({"lengths": np.array([5, 30, 12, 2])}, "expected 53 rows"),
        ({"lengths": np.array([5.0, 30, 12, 1])}, "lengths: expected integers, got float64"),
        ({"observations": np.full((52, 2), np.nan)}, "got nan at episode 0, step 0"),
        ({"env_id": np.array(3)}, "env_id: expected one string, got int64"),
        ({"kept": np.array([3, 2])}, "kept: expected ascending rows of the 48 actions"),
        ({"kept": np.array([47, 48])}, "kept: expected ascending rows"),
        ({"kept": np.array([], int)}, "kept: expected ascending rows"),
        ({"mean_return": np.array(np.nan)}, "mean_return: expected one finite number, got nan"),
        ({"action_space": np.array("{}")}, "expected a space as sb3_gail writes it"),
        ({"action_space": np.array(1.0)}, "action_space: expected one string"),
    ],
)
def test_files_that_do_not_fit(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "file.npz"
    made().save(path)
    arrays = {**read_npz(path), **change}
    write_npz(path, {name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(ValueError, match=rf"file\.npz.*: .*{message}"):
        Demonstrations.load(path)


def test_a_missing_file_is_the_file_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Demonstrations.load(tmp_path / "missing.npz")


def test_a_failed_save_leaves_the_former_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.npz"
    made().save(path)

    def fail(file: Any, **arrays: Any) -> None:
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="disk full"):
        made().take(1).save(path)
    assert len(Demonstrations.load(path)) == STEPS


# Spaces


def test_spaces_come_from_what_is_known_best() -> None:
    unknown = made(actions=np.linspace(-1, 1, STEPS)[:, None], action_space=None)
    assert unknown.observation_space == spaces.Box(-np.inf, np.inf, (2,), np.float32)
    assert unknown.action_space == spaces.Box(-np.inf, np.inf, (1,), np.float32)
    given = made(action_space=ACTION_SPACE, env_id="CartPole-v1")
    assert given.action_space is ACTION_SPACE
    named = made(env_id="MountainCar-v0", action_space=None)
    assert named.action_space == ACTION_SPACE
    assert named.observation_space == gym.make("MountainCar-v0").observation_space
    assert made(env_id="MountainCar-v0").take(1).observation_space == named.observation_space


def test_integers_alone_do_not_tell_their_space() -> None:
    for env_id in (None, "NotInstalled-v0"):
        demonstrations = made(action_space=None, env_id=env_id)
        named = "" if env_id is None else "; 'NotInstalled-v0', which they name, cannot be made here"
        with pytest.raises(ValueError, match=rf"cannot be inferred.*action_space=.*{named}$"):
            _ = demonstrations.action_space
        assert demonstrations.observation_space.shape == (2,)


def test_a_named_environment_that_does_not_fit() -> None:
    with pytest.raises(
        ValueError,
        match=r"^observations: expected the shape \(4,\).*got \(2,\).*that of CartPole-v1, .*: give observation_space",
    ):
        _ = made(env_id="CartPole-v1").observation_space
    torques = Demonstrations.from_arrays(np.zeros((6, 3)), np.zeros(5), lengths=[5], env_id="Pendulum-v1")
    with pytest.raises(ValueError, match=r"lack the last axis: give actions\[\.\.\., None\]; .*that of Pendulum-v1"):
        _ = torques.action_space


def test_arrays_that_nobody_reads_are_named(tmp_path: Path) -> None:
    made().save(tmp_path / "file.npz")
    with np.load(tmp_path / "file.npz") as file:
        np.savez(tmp_path / "misspelt.npz", **file, dones=np.ones(4, bool), observations_=np.zeros(3))
    with pytest.warns(UserWarning, match=r"got \['dones', 'observations_'\] as well, which nobody reads") as caught:
        Demonstrations.load(tmp_path / "misspelt.npz")
    assert caught[0].filename == __file__


def test_check_spaces() -> None:
    box = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    made().check_spaces(box, ACTION_SPACE)
    made().check_spaces(spaces.Box(-1, 1, (2,)), ACTION_SPACE)  # environments leave the bounds they declare
    made(action_space=None).check_spaces(box, spaces.Discrete(4))
    for observation_space, action_space, message in (
        (spaces.Box(-1, 1, (3,)), ACTION_SPACE, "observations: expected the shape"),
        (box, spaces.Discrete(2), r"actions: expected values from 0 to 1.*got 2 at row 2"),
        (box, spaces.Discrete(4), r"actions: expected the space Discrete\(4\), got Discrete\(3\)"),
        (box, spaces.Box(-1, 1, ()), "actions: expected float numbers"),
        (spaces.Dict(a=box), ACTION_SPACE, "observations: expected a dict"),
    ):
        with pytest.raises(ValueError, match=message):
            made().check_spaces(observation_space, action_space)
    with pytest.raises(TypeError, match="the space of the actions"):
        made().check_spaces(box, None)  # type: ignore[arg-type]


def test_actions_outside_the_bounds_are_named() -> None:
    actions = np.linspace(-1, 1.5, STEPS)[:, None]
    with pytest.raises(ValueError, match=r"actions: expected values from -1\.0 to 1\.0, .*got 1\.0\d+ at row 38"):
        made(actions=actions, action_space=None).check_spaces(spaces.Box(-9, 9, (2,)), spaces.Box(-1, 1, (1,)))


def test_normalised_observations_are_noticed() -> None:
    rng = np.random.default_rng(0)
    raw = rng.normal([100, 0.1], [20, 0.01], (301, 2))
    source = Demonstrations.from_arrays(raw, np.zeros((300, 1)), lengths=[300])
    normalised = Demonstrations.from_arrays((raw - raw.mean(0)) / raw.std(0), np.zeros((300, 1)), lengths=[300])
    assert source.evidence_of_normalisation(raw) is None
    assert "look normalised" in str(normalised.evidence_of_normalisation(raw))


# Agents


class Counting(gym.Env[Any, Any]):
    """Observes `[t, length]`, pays the action's sum; ends after `length` steps, on a time limit if that is odd."""

    def __init__(self, length: int, action_space: spaces.Space[Any] | None = None, masked: bool = False) -> None:
        self.observation_space = spaces.Box(0, 100, (2,), np.float64)
        self.action_space = spaces.Box(-0.5, 0.5, (2,), np.float32) if action_space is None else action_space
        self.length = length
        if masked:
            self.action_masks = lambda: np.array([self.t % 2 == 0, self.t % 2 == 1])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        return np.array([0, self.length], np.float64), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        done, odd = self.t >= self.length, bool(self.length % 2)
        info = {"env_reward": float(np.sum(action))}
        return np.array([self.t, self.length], np.float64), -7.0, done and not odd, done and odd, info


def counting(*lengths: int, **settings: Any) -> DummyVecEnv:
    return DummyVecEnv([partial(Counting, length, **settings) for length in lengths])


def test_an_agent_through_vec_normalize() -> None:
    venv = VecNormalize(counting(2, 5))
    model = PPO("MlpPolicy", venv, n_steps=16, batch_size=32, seed=0).learn(64)
    statistics = venv.obs_rms
    assert isinstance(statistics, RunningMeanStd)
    count, mean, returns = statistics.count, statistics.mean.copy(), venv.ret_rms.count
    demonstrations = Demonstrations.from_agent(model, venv, 6, seed=3)
    assert list(demonstrations.lengths) == [2, 5] * 3  # however much sooner the short ones end
    assert list(demonstrations.whole.terminated) == [True, False] * 3
    for episode in demonstrations.episodes():
        t = np.arange(len(episode) + 1)
        np.testing.assert_array_equal(episode.observations, np.column_stack([t, 0 * t + len(episode)]))
        np.testing.assert_allclose(episode.rewards, episode.actions.sum(axis=1), rtol=1e-6)
    assert np.abs(demonstrations.whole.actions).max() <= 0.5  # clipped: SB3's samples have a deviation of 1
    assert (statistics.count, venv.ret_rms.count) == (count, returns)
    np.testing.assert_array_equal(statistics.mean, mean)
    demonstrations.check_spaces(venv.observation_space, venv.action_space)
    assert demonstrations.declared_observation_space == spaces.Box(0, 100, (2,), np.float64)
    assert str(demonstrations.whole.observations.dtype) == "float32"

    again = Demonstrations.from_agent(model, venv, 6, seed=3)
    np.testing.assert_array_equal(again.whole.actions, demonstrations.whole.actions)
    other = Demonstrations.from_agent(model, venv, 6, seed=None)
    assert not np.array_equal(other.whole.actions, Demonstrations.from_agent(model, venv, 6, seed=None).whole.actions)


def test_deterministic_agents_repeat_themselves_under_the_policys_own_observations() -> None:
    venv = VecNormalize(counting(4))
    model = PPO("MlpPolicy", venv, n_steps=16, batch_size=16, seed=0).learn(32)
    demonstrations = Demonstrations.from_agent(model, venv, 2, deterministic=True)
    raw = np.array([[0, 4], [1, 4], [2, 4], [3, 4]], np.float64)
    expected, _ = model.predict(venv.normalize_obs(raw), deterministic=True)
    np.testing.assert_allclose(demonstrations.whole.actions, np.tile(expected, (2, 1)), rtol=1e-5)


@pytest.mark.parametrize(
    ("action_space", "dtype"),
    [
        (spaces.Discrete(3), "int64"),
        (spaces.MultiDiscrete([2, 3]), "int64"),
        (spaces.MultiBinary(2), "int8"),
        (spaces.Box(-2, 5, (1,), np.float64), "float32"),
    ],
    ids=str,
)
def test_actions_have_the_spaces_own_kind(action_space: spaces.Space[Any], dtype: str, tmp_path: Path) -> None:
    env = Counting(3, action_space)
    demonstrations = Demonstrations.from_agent(PPO("MlpPolicy", env, n_steps=8, batch_size=8), env, 2)
    assert str(demonstrations.whole.actions.dtype) == dtype
    demonstrations.check_spaces(env.observation_space, env.action_space)
    demonstrations.save(tmp_path / "file.npz")
    assert Demonstrations.load(tmp_path / "file.npz").action_space == action_space


def test_other_algorithms() -> None:
    env, discrete = Counting(3), Counting(3, spaces.Discrete(2))
    lifted = Counting(3, spaces.Box(3, 5, (1,)))
    unscaled = Demonstrations.from_agent(SAC("MlpPolicy", lifted), lifted, 2)
    assert 3 <= unscaled.whole.actions.min() <= unscaled.whole.actions.max() <= 5
    assert len(Demonstrations.from_agent(DQN("MlpPolicy", discrete), discrete, 2)) == 6
    recurrent = RecurrentPPO("MlpLstmPolicy", env, n_steps=8, batch_size=8)
    assert len(Demonstrations.from_agent(recurrent, env, 2)) == 6


def test_masks_are_kept_to() -> None:
    env = Counting(6, spaces.Discrete(2), masked=True)
    model = MaskablePPO("MlpPolicy", env, n_steps=8, batch_size=8)
    np.testing.assert_array_equal(Demonstrations.from_agent(model, env, 3).whole.actions, np.arange(18) % 2)


def test_the_environments_id_is_kept() -> None:
    venv = make_vec_env("CartPole-v1", 3)
    model = PPO("MlpPolicy", venv, n_steps=8, batch_size=8)
    demonstrations = Demonstrations.from_agent(model, venv, 5)
    assert demonstrations.env_id == "CartPole-v1"
    assert (demonstrations.n_episodes, demonstrations.mean_return) == (5, demonstrations.lengths.mean())
    assert Demonstrations.from_agent(model, gym.make("CartPole-v1"), 1).env_id == "CartPole-v1"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_episodes": 0}, ValueError, "n_episodes must be at least 1|n_episodes: expected"),
        ({"n_episodes": 1.5}, TypeError, "n_episodes: expected an integer, got 1.5"),
        ({"model": "ppo"}, TypeError, "model: expected an SB3 or sb3-contrib algorithm, got str"),
        ({"env": "CartPole-v1"}, TypeError, "got str"),
        ({"env": Counting(2, spaces.Discrete(2))}, ValueError, "made for actions"),
    ],
)
def test_agents_that_cannot_be_rolled_out(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    model = PPO("MlpPolicy", Counting(2), n_steps=8, batch_size=8)
    settings = {"model": model, "env": Counting(2), "n_episodes": 1, **arguments}
    with pytest.raises(error, match=message):
        Demonstrations.from_agent(**settings)


# The shared files


FILES = sorted(DEMOS.glob("*.npz"))


@pytest.mark.skipif(not FILES, reason="needs the shared demonstrations")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_shared_files(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where MuJoCo writes its log
    demonstrations = Demonstrations.load(path)
    score = json.loads((DEMOS / "scores.json").read_text())[path.stem]
    assert demonstrations.env_id == path.stem
    assert (demonstrations.n_episodes, len(demonstrations)) == (score["demo_episodes"], score["demo_steps"])
    assert demonstrations.mean_return == pytest.approx(score["demo_mean"], abs=0.01)
    part = demonstrations.take(4).subsample(20)
    part.save(tmp_path / "part.npz")
    assert_same(Demonstrations.load(tmp_path / "part.npz"), part)
    try:
        env = gym.make(path.stem)
    except (gym.error.Error, ImportError):
        pytest.skip(f"needs {path.stem}")
    demonstrations.check_spaces(env.observation_space, env.action_space)
    assert (part.observation_space, part.action_space) == (env.observation_space, env.action_space)
