"""EnvPool's environments as an SB3 `VecEnv`: as `make_vec_env` has Gymnasium's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any, cast

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from sb3_contrib import TRPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from sb3_gail import Demonstrations, Discriminator
from sb3_gail.adapters.envpool import EnvPoolVecEnv, envpool_has
from sb3_gail.callbacks import GAILCallback
from sb3_gail.data import shipped
from sb3_gail.evaluation import evaluate
from sb3_gail.rollouts import episodes
from sb3_gail.spaces import single_precision_space
from sb3_gail.transitions import Array
from sb3_gail.wrappers import GAILRewardVecWrapper

MUJOCO = ["Hopper-v5", "Walker2d-v5", "HalfCheetah-v5", "Ant-v5", "Humanoid-v5", "Reacher-v5"]
CLASSIC = ["CartPole-v1", "MountainCar-v0", "Acrobot-v1", "Pendulum-v1"]


@pytest.fixture
def envpool() -> Any:
    """EnvPool, if it is installed."""
    return pytest.importorskip("envpool")


def one_way(venv: VecEnv) -> Array:
    """The action 1 for all copies of CartPole, which falls over in about ten steps."""
    return np.ones(venv.num_envs, dtype=np.int64)


def play(venv: VecEnv, n_steps: int) -> list[Any]:
    """What a fixed sequence of actions leads to."""
    generator = np.random.default_rng(0)
    space = venv.action_space
    seen = [venv.reset()]
    for _ in range(n_steps):
        if isinstance(space, spaces.Discrete):
            actions = generator.integers(space.n, size=venv.num_envs)
        else:
            actions = generator.uniform(-1, 1, size=(venv.num_envs, *(space.shape or ()))).astype(np.float32)
        seen.extend(venv.step(actions)[:3])
    return seen


def test_absence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "envpool", None)
    with pytest.raises(ImportError, match=r"pip install 'sb3-gail\[envpool\]'"):
        EnvPoolVecEnv("CartPole-v1", 1)
    assert not envpool_has("CartPole-v1")


@pytest.mark.parametrize(
    ("setting", "instead"),
    [
        ("num_threads", "n_threads"),
        ("num_envs", "n_envs"),
        ("batch_size", "n_envs, all of which are stepped together,"),
    ],
)
def test_what_would_undo_our_settings_is_refused(setting: str, instead: str) -> None:
    settings: dict[str, Any] = {setting: 4}
    with pytest.raises(ValueError, match=f"{setting}: expected {instead} instead, got 4"):
        EnvPoolVecEnv("CartPole-v1", 8, n_threads=2, **settings)


@pytest.mark.usefixtures("envpool")
class TestVecEnv:
    @pytest.mark.parametrize("env_id", [*CLASSIC, *MUJOCO])
    def test_spaces_are_gymnasiums_in_single_precision(self, env_id: str) -> None:
        if env_id in MUJOCO:
            pytest.importorskip("mujoco")
        theirs = gym.make(env_id)
        ours = EnvPoolVecEnv(env_id, 2)
        assert ours.observation_space == single_precision_space(theirs.observation_space)
        assert ours.action_space == single_precision_space(theirs.action_space)
        for space in (ours.observation_space, ours.action_space):
            assert not isinstance(space, spaces.Box) or space.dtype == np.float32

    def test_limits_of_episodes_are_gymnasiums(self, envpool: Any) -> None:
        for env_id in [*CLASSIC, *MUJOCO]:
            assert envpool.make_spec(env_id).config.max_episode_steps == gym.spec(env_id).max_episode_steps

    @pytest.mark.parametrize("env_id", ["CartPole-v1", "Hopper-v5", "FrozenLake-v1"])
    def test_step_has_the_shapes_and_types_of_a_dummy_vec_env(self, env_id: str) -> None:
        venv = EnvPoolVecEnv(env_id, 3)
        observations = venv.reset()
        actions = np.stack([venv.action_space.sample() for _ in range(3)])
        following, rewards, dones, infos = venv.step(actions)
        for values in (observations, cast(Array, following)):
            assert values.shape == (3, *(venv.observation_space.shape or ()))
            assert values.dtype == venv.observation_space.dtype
            assert all(venv.observation_space.contains(value) for value in values)
        assert rewards.shape == dones.shape == (3,)
        assert (rewards.dtype, dones.dtype) == (np.dtype(np.float32), np.dtype(bool))
        assert [info["TimeLimit.truncated"] for info in infos] == [False] * 3

    def test_infos_hold_numbers_of_each_environment(self) -> None:
        venv = EnvPoolVecEnv("HalfCheetah-v5", 2)
        venv.reset()
        _, rewards, _, infos = venv.step(np.ones((2, 6), dtype=np.float32))
        assert all(type(value) in (float, bool) for info in infos for value in info.values())
        for info, reward in zip(infos, rewards, strict=True):
            assert info["reward_run"] + info["reward_ctrl"] == pytest.approx(reward, abs=1e-5)
        assert infos[0]["x_position"] != infos[1]["x_position"]

    def test_episode_that_ends_starts_over_in_the_same_step(self) -> None:
        venv = EnvPoolVecEnv("CartPole-v1", 4, seed=3)
        observations = venv.reset()
        lengths = np.zeros(4, dtype=int)
        n_ended = 0
        for _ in range(60):
            previous = observations
            observations, rewards, dones, infos = cast(Any, venv.step(one_way(venv)))
            lengths += 1
            np.testing.assert_array_equal(rewards, 1)
            for copy in range(4):
                last = infos[copy].get("terminal_observation")
                assert (last is not None) == dones[copy]
                reached = observations[copy] if last is None else last
                # CartPole moves by its velocity, at 0.02 seconds a step: it is the same episode's next observation.
                np.testing.assert_allclose(reached[0], previous[copy][0] + 0.02 * previous[copy][1], atol=1e-6)
                np.testing.assert_allclose(reached[2], previous[copy][2] + 0.02 * previous[copy][3], atol=1e-6)
                if last is None:
                    continue
                n_ended += 1
                assert abs(last[2]) > 0.2095
                assert (np.abs(observations[copy]) <= 0.05).all()
                assert infos[copy]["TimeLimit.truncated"] is False
                episode = infos[copy]["episode"]
                assert (episode["r"], episode["l"]) == (lengths[copy], lengths[copy])
                assert episode["t"] >= 0
                lengths[copy] = 0
        assert n_ended > 12

    def test_time_limit_truncates(self) -> None:
        venv = EnvPoolVecEnv("Pendulum-v1", 2, max_episode_steps=5)
        venv.reset()
        for step in range(1, 12):
            observations, _, dones, infos = cast(Any, venv.step(np.zeros((2, 1), dtype=np.float32)))
            assert dones.tolist() == [step % 5 == 0] * 2
            assert [info["TimeLimit.truncated"] for info in infos] == dones.tolist()
            if dones[0]:
                assert infos[0]["episode"]["l"] == 5
                assert not np.array_equal(infos[0]["terminal_observation"], observations[0])

    @pytest.mark.parametrize("shorter_by", [0, 1])
    def test_only_a_limit_that_comes_first_truncates(self, shorter_by: int) -> None:
        falls = first_end(EnvPoolVecEnv("CartPole-v1", 1, seed=3))[0]
        limit = falls - shorter_by
        length, info = first_end(EnvPoolVecEnv("CartPole-v1", 1, seed=3, max_episode_steps=limit))
        assert length == limit
        assert info["TimeLimit.truncated"] is (shorter_by == 1)

    def test_seed_gives_the_same_episodes(self) -> None:
        venv = EnvPoolVecEnv("Hopper-v5", 3, seed=5)
        first = play(venv, 40)
        went_on = play(venv, 40)
        assert venv.seed(5) == [5, 6, 7]
        again = play(venv, 40)
        for one, other in zip(first, again, strict=True):
            np.testing.assert_array_equal(one, other)
        assert not np.array_equal(first[0], went_on[0])
        assert not np.array_equal(first[0], EnvPoolVecEnv("Hopper-v5", 3, seed=6).reset())
        assert not np.array_equal(first[0][0], first[0][1])

    def test_copy_does_not_depend_on_how_many_there_are(self) -> None:
        few, many = EnvPoolVecEnv("Hopper-v5", 2, seed=5), EnvPoolVecEnv("Hopper-v5", 33, seed=4)
        np.testing.assert_array_equal(few.reset(), many.reset()[1:3])
        for _ in range(40):  # over the first resets
            few_step, many_step = few.step(np.ones((2, 3))), many.step(np.ones((33, 3)))
            for one, other in zip(few_step[:3], many_step[:3], strict=True):
                np.testing.assert_array_equal(cast(Array, one), cast(Array, other)[1:3])

    def test_number_of_threads_changes_nothing(self) -> None:
        for one, other in zip(
            play(EnvPoolVecEnv("Hopper-v5", 8, n_threads=1), 40),
            play(EnvPoolVecEnv("Hopper-v5", 8, n_threads=4), 40),
            strict=True,
        ):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize("seed", [None, 2**32 - 2, 0])
    def test_all_seeds_of_sb3_are_seeds(self, seed: int | None) -> None:
        venv = EnvPoolVecEnv("CartPole-v1", 3)
        assert len(set(venv.seed(seed))) == 3
        assert len(np.unique(venv.reset()[:, 0])) == 3

    def test_reset_in_the_middle_of_episodes_starts_new_ones(self) -> None:
        venv = EnvPoolVecEnv("Pendulum-v1", 2, max_episode_steps=5)
        venv.reset()
        for _ in range(3):
            venv.step(np.zeros((2, 1)))
        venv.reset()
        total = np.zeros(2)
        for step in range(1, 6):
            _, rewards, dones, infos = venv.step(np.zeros((2, 1)))
            total += rewards
            assert dones.tolist() == [step == 5] * 2
        assert [info["episode"]["l"] for info in infos] == [5, 5]
        assert [info["episode"]["r"] for info in infos] == pytest.approx(total.tolist(), rel=1e-5)

    def test_infos_of_resets_are_kept(self) -> None:
        venv = EnvPoolVecEnv("Hopper-v5", 3)
        venv.reset()
        assert venv.reset_infos == [{"x_position": 0.0, "x_velocity": 0.0}] * 3

    def test_steps_need_their_two_halves_and_a_reset(self) -> None:
        venv = EnvPoolVecEnv("CartPole-v1", 2)
        venv.step_async(one_way(venv))
        with pytest.raises(RuntimeError, match=r"expected seed\(\) and reset\(\) first"):
            venv.step_wait()
        venv.reset()
        with pytest.raises(RuntimeError, match=r"expected step_async\(\)"):
            venv.step_wait()
        venv.step_async(one_way(venv))
        venv.step_wait()
        with pytest.raises(RuntimeError, match=r"expected step_async\(\)"):
            venv.step_wait()
        venv.close()
        with pytest.raises(RuntimeError, match="or are closed"):
            venv.reset()

    def test_returned_arrays_are_the_callers(self) -> None:
        venv = EnvPoolVecEnv("CartPole-v1", 2)
        kept = [venv.reset()]
        copies = [kept[0].copy()]
        for _ in range(30):
            observations, rewards, dones, _ = venv.step(one_way(venv))
            kept += [cast(Array, observations), rewards, dones]
            copies += [np.array(values) for values in kept[-3:]]
        for values, copy in zip(kept, copies, strict=True):
            np.testing.assert_array_equal(values, copy)
            values[...] = 0

    @pytest.mark.parametrize("actions", [np.zeros(3, int), np.zeros((2, 1), int), np.zeros((), int)])
    def test_actions_of_another_shape_are_refused(self, actions: Array) -> None:
        venv = EnvPoolVecEnv("CartPole-v1", 2)
        venv.reset()
        with pytest.raises(ValueError, match=r"actions: expected the shape \(2,\), got"):
            venv.step(actions)

    def test_attributes_are_those_that_all_copies_share(self) -> None:
        venv = EnvPoolVecEnv("CartPole-v1", 3)
        assert venv.get_attr("action_space", [0, 2]) == [venv.action_space] * 2
        assert venv.get_attr("render_mode") == [None] * 3
        assert venv.get_attr("spec", 1)[0].id == "CartPole-v1"
        assert venv.get_attr("spec", 1)[0].max_episode_steps == 500
        shorter = EnvPoolVecEnv("CartPole-v1", 2, max_episode_steps=50)
        assert shorter.get_attr("spec", 0)[0].max_episode_steps == 50
        assert gym.spec("CartPole-v1").max_episode_steps == 500
        assert EnvPoolVecEnv("CliffWalking-v1", 2).get_attr("spec", 0)[0].max_episode_steps is None
        for use in (
            lambda: venv.get_attr("state"),
            lambda: venv.set_attr("gravity", 1.0),
            lambda: venv.env_method("action_masks"),
        ):
            with pytest.raises(AttributeError, match="EnvPool's environments are no Python objects"):
                use()
        if hasattr(VecEnv, "has_attr"):
            assert (venv.has_attr("spec"), venv.has_attr("action_masks")) == (True, False)

    def test_what_a_monitor_does_is_done(self) -> None:
        venv = EnvPoolVecEnv("CartPole-v1", 3)
        assert venv.env_is_wrapped(Monitor) == [True] * 3
        assert venv.env_is_wrapped(Monitor, 1) == [True]
        assert venv.env_is_wrapped(gym.wrappers.NormalizeObservation, [0, 1]) == [False] * 2

    def test_images(self) -> None:
        venv = EnvPoolVecEnv("CartPole-v1", 2, render_mode="rgb_array")
        venv.reset()
        images = [image for image in venv.get_images() if image is not None]
        assert [image.shape[2] for image in images] == [3, 3]
        assert all(image.std() > 0 for image in images)
        tiled = venv.render()
        assert tiled is not None
        assert tiled.shape[0] >= images[0].shape[0]
        assert EnvPoolVecEnv("CartPole-v1", 2).get_images() == [None, None]

    def test_nothing_keeps_it_alive(self) -> None:
        code = (
            "import gc, weakref\n"
            "from sb3_gail.adapters import EnvPoolVecEnv\n"
            "def use():\n"
            "    venv = EnvPoolVecEnv('CartPole-v1', 2)\n"
            "    venv.reset()\n"
            "    return weakref.ref(venv)\n"
            "venv = use()\n"
            "gc.collect()\n"
            "raise SystemExit(venv() is not None)"
        )
        assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0

    def test_options_of_a_reset_are_refused(self) -> None:
        venv = EnvPoolVecEnv("CartPole-v1", 2)
        venv.set_options()
        with pytest.raises(ValueError, match="take none at a reset"):
            venv.set_options({"low": 0})

    @pytest.mark.parametrize(
        ("env_id", "arguments", "message"),
        [
            ("Nothing-v0", {}, "expected one of envpool.list_all_envs"),
            ("CartPole-v1", {"n_envs": 0}, "n_envs: expected at least 1, got 0"),
            ("CartPole-v1", {"render_mode": "human"}, "render_mode: expected None or 'rgb_array'"),
            ("CartPole-v1", {"gravity": 1.0}, "EnvPool's CartPole-v1 does not take these settings.*gravity"),
            ("FetchReach-v4", {}, "expected one array of observations"),
        ],
    )
    def test_what_cannot_be_made_is_refused(self, env_id: str, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            EnvPoolVecEnv(env_id, **{"n_envs": 1, **arguments})


def first_end(venv: VecEnv) -> tuple[int, dict[str, Any]]:
    """When CartPole's first episode ends, and the info of that step."""
    venv.reset()
    for step in range(1, 100):
        _, _, dones, infos = venv.step(one_way(venv))
        if dones[0]:
            return step, infos[0]
    raise RuntimeError("expected CartPole to fall")


@pytest.mark.usefixtures("envpool")
class TestStandIn:
    def test_environments_of_others_are_not_replaced(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert envpool_has("CartPole-v1")
        assert not envpool_has("Nothing-v0")
        assert not envpool_has("FetchReach-v4")  # its observations are dicts
        theirs = gym.envs.registration.EnvSpec("CartPole-v1", entry_point="their.module:TheirCartPole")
        monkeypatch.setitem(gym.registry, "CartPole-v1", theirs)
        assert not envpool_has("CartPole-v1")

    @pytest.mark.filterwarnings("ignore:.*out of date:DeprecationWarning")
    def test_it_has_the_spaces_and_time_limits_of_what_it_stands_in_for(self) -> None:
        compared = []
        for env_id in filter(envpool_has, gym.registry):
            try:
                theirs = gym.make(env_id)
            except (gym.error.Error, ImportError):  # needs what is not installed
                continue
            ours = EnvPoolVecEnv(env_id, 1)
            assert ours.observation_space == single_precision_space(theirs.observation_space), env_id
            assert ours.action_space == single_precision_space(theirs.action_space), env_id
            (spec,) = ours.get_attr("spec")
            assert theirs.spec is not None
            assert spec.max_episode_steps == theirs.spec.max_episode_steps, env_id
            theirs.close()
            ours.close()
            compared.append(env_id)
        assert {"CartPole-v1", "MountainCar-v0", "FrozenLake-v1"} <= set(compared)
        assert not envpool_has("Blackjack-v1")  # whose observations Gymnasium has as a tuple

    @pytest.mark.parametrize("env_id", ["Hopper-v5", "HalfCheetah-v5"])
    def test_dynamics_and_rewards_are_gymnasiums(self, env_id: str) -> None:
        mujoco = pytest.importorskip("mujoco")
        theirs: Any = gym.make(env_id).unwrapped
        venv = EnvPoolVecEnv(env_id, 4, seed=1)
        starts = venv.reset().astype(np.float64)
        actions = np.random.default_rng(0).uniform(-1, 1, (6, 4, *(venv.action_space.shape or ()))).astype(np.float32)
        ours = [cast(Any, venv.step(step)) for step in actions]
        n_positions = theirs.model.nq
        for copy, start in enumerate(starts):
            mujoco.mj_resetData(theirs.model, theirs.data)
            theirs.set_state(np.append(0, start[: n_positions - 1]), start[n_positions - 1 :])
            for step in range(6):
                observation, reward, *_ = theirs.step(actions[step, copy])
                # The states differ by float32's rounding, which contacts magnify.
                np.testing.assert_allclose(ours[step][0][copy], observation, rtol=1e-3, atol=1e-3)
                np.testing.assert_allclose(ours[step][1][copy], reward, rtol=1e-3, atol=1e-3)

    @pytest.mark.parametrize(("env_id", "n_episodes"), [("CartPole-v1", 100), ("Hopper-v5", 50)])
    def test_returns_and_first_observations_are_distributed_as_gymnasiums(self, env_id: str, n_episodes: int) -> None:
        if env_id in MUJOCO:
            pytest.importorskip("mujoco")
        theirs = list(episodes(linear_policy, make_vec_env(env_id, 10), n_episodes, seed=1))
        ours = list(episodes(linear_policy, EnvPoolVecEnv(env_id, 10), n_episodes, seed=1001))
        critical = 1.95 * np.sqrt(2 / n_episodes)  # Kolmogorov-Smirnov at 0.001

        def distance(measure: Callable[[Any], float]) -> float:
            one, other = (np.sort([measure(episode) for episode in played]) for played in (ours, theirs))
            both = np.concatenate([one, other])
            ranks = [np.searchsorted(values, both, side="right") / n_episodes for values in (one, other)]
            return float(np.abs(ranks[0] - ranks[1]).max())

        assert distance(lambda episode: episode.rewards.sum()) < critical
        assert distance(lambda episode: len(episode.actions)) < critical
        for feature in range(np.asarray(ours[0].observations).shape[1]):
            assert distance(lambda episode, feature=feature: episode.observations[0, feature]) < critical  # type: ignore[misc]


def linear_policy(observations: Any, starts: Array) -> Array:
    """Fixed actions that depend on the observation, good enough for episodes of many lengths."""
    if observations.shape[1] == 4:  # CartPole
        return np.asarray(observations[:, 2] + 0.3 * observations[:, 3] > 0.02, dtype=np.int64)
    weights = np.random.default_rng(0).normal(size=(observations.shape[1], 3))
    return np.asarray(np.tanh(np.clip(observations, -5, 5) @ weights), dtype=np.float32)


@pytest.mark.usefixtures("envpool")
class TestTraining:
    def test_plain_training_logs_true_returns(self) -> None:
        model = TRPO("MlpPolicy", EnvPoolVecEnv("CartPole-v1", 8), n_steps=64, seed=0)
        model.learn(2048)
        recent = [episode["r"] for episode in model.ep_info_buffer or []]
        assert len(recent) > 30
        assert [episode["l"] for episode in model.ep_info_buffer or []] == recent  # one for each step

    def test_evaluation_by_sb3_and_by_us_agree(self) -> None:
        venv = EnvPoolVecEnv("CartPole-v1", 1)
        model = TRPO("MlpPolicy", venv, seed=0)
        venv.seed(7)
        mean, _ = evaluate_policy(model, venv, n_eval_episodes=5)  # warns, an error here, where there is no Monitor
        assert mean == evaluate(model, venv, n_episodes=5, seed=7).mean_return

    def test_gail_imitates_and_keeps_the_true_return(self) -> None:
        demonstrations = Demonstrations.load(shipped("CartPole-v1")).take(2)
        discriminator = Discriminator.from_demonstrations(demonstrations)
        venv = GAILRewardVecWrapper(EnvPoolVecEnv("CartPole-v1", 16), discriminator)
        model = TRPO("MlpPolicy", VecNormalize(venv, norm_reward=False), n_steps=64, batch_size=128, seed=0)
        model.learn(30_000, callback=GAILCallback(discriminator, demonstrations))
        assert np.mean([episode["r"] for episode in model.ep_info_buffer or []]) > 100  # random actions: about 22

    def test_policies_go_from_one_to_the_other(self) -> None:
        pytest.importorskip("mujoco")
        demonstrations = Demonstrations.load(shipped("Hopper-v5")).take(1)
        ours, theirs = EnvPoolVecEnv("Hopper-v5", 4), make_vec_env("Hopper-v5", 4)
        demonstrations.check_spaces(ours.observation_space, ours.action_space)
        discriminator = Discriminator.from_demonstrations(demonstrations)
        model = TRPO("MlpPolicy", GAILRewardVecWrapper(ours, discriminator), n_steps=64, seed=0)
        model.learn(512, callback=GAILCallback(discriminator, demonstrations))
        returns = evaluate(model, theirs, n_episodes=8).returns
        assert np.isfinite(returns).all()
        there = TRPO("MlpPolicy", theirs, n_steps=64, seed=0)
        there.policy.load_state_dict(model.policy.state_dict())
        np.testing.assert_array_equal(evaluate(there, theirs, n_episodes=8).returns, returns)
        assert len(evaluate(there, ours, n_episodes=8).returns) == 8

    def test_recorded_episodes_know_their_environment(self) -> None:
        venv = EnvPoolVecEnv("CartPole-v1", 2)
        recorded = Demonstrations.from_agent(TRPO("MlpPolicy", venv, seed=0), venv, 3, seed=0)
        assert recorded.env_id == "CartPole-v1"
        assert recorded.returns is not None
        assert recorded.returns.tolist() == recorded.lengths.tolist()
