"""What the learner is trained on, step by step, against what truly happened in scripted environments."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import ARS, MaskablePPO, RecurrentPPO
from scripted import (
    LEARNERS,
    Choosing,
    Keyed,
    Pictured,
    Recorder,
    Rollout,
    Scripted,
    ScriptedAdversary,
    demonstrations_of,
    hand_written_gae,
    linear_reward,
    make_learner,
    normalised,
    transitions_of,
    wrapped_copies,
)
from stable_baselines3 import DQN, PPO, SAC, TD3
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    EvalCallback,
    StopTrainingOnMaxEpisodes,
)
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecEnv,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)
from torch import Tensor

from sb3_gail import Demonstrations, Discriminator, Transitions
from sb3_gail.adapters import EnvPoolVecEnv
from sb3_gail.callbacks import GAILCallback
from sb3_gail.data import shipped
from sb3_gail.transitions import Array
from sb3_gail.wrappers import GAILRewardVecWrapper, GAILRewardWrapper

N_ENVS, N_STEPS = 2, 6
# "cut": no episode ends within a rollout.
ENDINGS: dict[str, dict[str, Any]] = {
    "terminated": {"lengths": (3, 4), "ends": "terminated"},
    "truncated": {"lengths": (3, 4), "ends": "truncated"},
    "cut": {"lengths": (1000,), "ends": "terminated"},
}


def assert_rewarded(rollouts: list[Rollout], *, gamma: float, gae_lambda: float, first_generation: int = 1) -> None:
    """Each rollout is paid by the adversary that was updated on it, and SB3's bootstrap; GAE follows."""
    for index, rollout in enumerate(rollouts):
        learned = rollout.true_rewards(first_generation + index)
        expected = learned + gamma * rollout.bootstrap_values * rollout.truncated
        np.testing.assert_allclose(rollout.rewards, expected, rtol=1e-5, atol=1e-5)
        advantages = hand_written_gae(
            expected, rollout.values, rollout.ends, rollout.last_values, gamma=gamma, gae_lambda=gae_lambda
        )
        np.testing.assert_allclose(rollout.advantages, advantages, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(rollout.returns, advantages + rollout.values, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("learner", ["TRPO", "PPO", "A2C"])
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("normalise", [False, True], ids=["raw", "VecNormalize"])
@pytest.mark.parametrize("backend", ["dummy", "subproc"])
@pytest.mark.parametrize("wrapper", ["gym", "vec"])
def test_the_policy_trains_on_the_adversarys_rewards(
    wrapper: str, backend: str, normalise: bool, ending: str, learner: str
) -> None:
    adversary, recorder = ScriptedAdversary(), Recorder()
    gail = GAILCallback(adversary, demonstrations_of(Scripted()))
    with wrapped_copies(adversary, wrapper=wrapper, backend=backend, n_envs=N_ENVS, **ENDINGS[ending]) as venv:
        model = make_learner(learner, normalised(venv) if normalise else venv, n_steps=N_STEPS, gamma=0.9)
        model.learn(3 * N_STEPS * N_ENVS, callback=[gail, recorder])
    assert adversary.generation == len(recorder.rollouts) == 3
    assert_rewarded(recorder.rollouts, gamma=0.9, gae_lambda=0.9)


def run(
    adversary: ScriptedAdversary,
    venv: VecEnv,
    *beside: BaseCallback,
    learner: str = "PPO",
    kind: type[Scripted] = Scripted,
    n_rollouts: int = 3,
    **settings: Any,
) -> tuple[OnPolicyAlgorithm, Recorder]:
    """A model that learned from some rollouts, and what it was trained on."""
    recorder = Recorder()
    model = make_learner(learner, venv, **{"n_steps": N_STEPS, "gamma": 0.9, **settings})
    gail = GAILCallback(adversary, demonstrations_of(kind()))
    model.learn(n_rollouts * model.n_steps * venv.num_envs, callback=[gail, *beside, recorder])
    return model, recorder


@pytest.mark.parametrize("wrapper", ["gym", "vec"])
def test_the_adversary_sees_the_true_transitions_bit_for_bit(wrapper: str) -> None:
    adversary = ScriptedAdversary()
    with wrapped_copies(adversary, wrapper=wrapper, ends="both") as venv:
        _, recorder = run(adversary, normalised(venv))
    for rollout, seen in zip(recorder.rollouts, adversary.policy_batches, strict=True):
        truth = transitions_of([truth for step in rollout.truths for truth in step])
        np.testing.assert_array_equal(seen.observations, np.asarray(truth.observations, np.float32))
        np.testing.assert_array_equal(seen.next_observations, np.asarray(truth.next_observations, np.float32))
        np.testing.assert_array_equal(seen.actions, truth.actions)
        np.testing.assert_array_equal(seen.terminated, truth.terminated)
        assert np.abs(np.asarray(seen.actions)).max() == 0.5  # the policy's own actions go beyond the bounds


@pytest.mark.parametrize("wrapper", ["gym", "vec"])
@pytest.mark.parametrize("normalise", [False, True])
def test_a_single_environment_with_both_ways_of_ending(wrapper: str, normalise: bool) -> None:
    adversary = ScriptedAdversary()
    with wrapped_copies(adversary, wrapper=wrapper, n_envs=1, lengths=(2, 3, 1), ends="both") as venv:
        _, recorder = run(adversary, normalised(venv) if normalise else venv)
    truncations = np.concatenate([rollout.truncated for rollout in recorder.rollouts])
    ends = np.concatenate([rollout.ends for rollout in recorder.rollouts])
    assert 0 < truncations.sum() < ends.sum() < len(ends)
    assert_rewarded(recorder.rollouts, gamma=0.9, gae_lambda=0.9)


def test_the_bootstrap_of_time_limits_survives() -> None:
    adversary = ScriptedAdversary()
    with wrapped_copies(adversary, ends="truncated") as venv:
        _, recorder = run(adversary, normalised(venv))
    rollout = recorder.rollouts[0]
    bootstrap = rollout.rewards - rollout.true_rewards(1)
    assert rollout.truncated.any()
    assert (np.abs(bootstrap[rollout.truncated]) > 1e-3).all()
    np.testing.assert_allclose(bootstrap[~rollout.truncated], 0, atol=1e-5)


class Rescaled(Scripted):
    """With its reward times a number."""

    def __init__(self, copy: int = 0, *, scale: float, **settings: Any) -> None:
        super().__init__(copy, **settings)
        self.scale = scale

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, self.scale * reward, terminated, truncated, info


@pytest.mark.parametrize("wrapper", ["gym", "vec"])
@pytest.mark.parametrize("norm_reward", [False, True])
def test_the_environments_reward_never_reaches_the_learner(wrapper: str, norm_reward: bool) -> None:
    trained = []
    for scale in (1.0, -1e6):
        adversary = ScriptedAdversary()
        with wrapped_copies(adversary, wrapper=wrapper, kind=Rescaled, scale=scale, ends="both") as venv:
            model, recorder = run(adversary, normalised(venv, norm_reward=norm_reward))
        assert not np.any(recorder.paid)
        trained.append(torch.nn.utils.parameters_to_vector(model.policy.parameters()))
    torch.testing.assert_close(trained[0], trained[1], rtol=0, atol=0)


def statistics_by_hand(samples: Array) -> tuple[float, float]:
    """Mean and variance of samples and SB3's prior: 1e-4 observations of mean 0 and variance 1."""
    count = 1e-4 + samples.size
    mean = samples.sum() / count
    return mean, (1e-4 + np.square(samples).sum()) / count - mean**2


def discounted(rewards: Array, ends: Array, gamma: float) -> Array:
    """Returns so far, of each step of each environment, which begin anew after an episode's end."""
    returns, running = [], np.zeros(rewards.shape[1])
    for step_rewards, step_ends in zip(rewards, ends, strict=True):
        running = running * gamma + step_rewards
        returns.append(running)
        running = np.where(step_ends, 0, running)
    return np.array(returns)


@pytest.mark.parametrize("wrapper", ["gym", "vec"])
@pytest.mark.parametrize("learner", ["TRPO", "PPO", "A2C"])
def test_normalised_rewards_follow_the_learned_ones(wrapper: str, learner: str, tmp_path: Path) -> None:
    adversary, recorder = ScriptedAdversary(), Recorder()
    saving = CheckpointCallback(N_STEPS - 2, str(tmp_path), save_vecnormalize=True)
    with wrapped_copies(adversary, wrapper=wrapper, ends="both", lengths=(4, 5)) as venv:
        vec_normalize = normalised(venv, norm_reward=True, clip_reward=1.5, gamma=0.8)
        model = make_learner(learner, vec_normalize, n_steps=N_STEPS, gamma=0.9)
        gail = GAILCallback(adversary, demonstrations_of(Scripted()))
        for _ in range(2):
            model.learn(2 * N_STEPS * 2, callback=[gail, saving, recorder], reset_num_timesteps=False)
    assert len(recorder.rollouts) == 4
    learned = np.concatenate([rollout.true_rewards(index + 1) for index, rollout in enumerate(recorder.rollouts)])
    returns = discounted(learned, np.concatenate([rollout.ends for rollout in recorder.rollouts]), 0.8)
    for index, rollout in enumerate(recorder.rollouts):
        _, variance = statistics_by_hand(returns[: (index + 1) * N_STEPS])
        rows = slice(index * N_STEPS, (index + 1) * N_STEPS)
        paid = np.clip(learned[rows] / np.sqrt(variance + 1e-8), -1.5, 1.5)
        expected = paid + 0.9 * rollout.bootstrap_values * rollout.truncated
        np.testing.assert_allclose(rollout.rewards, expected, rtol=1e-4, atol=1e-4)
        advantages = hand_written_gae(
            expected, rollout.values, rollout.ends, rollout.last_values, gamma=0.9, gae_lambda=0.9
        )
        np.testing.assert_allclose(rollout.advantages, advantages, rtol=1e-3, atol=1e-3)
    mean, variance = statistics_by_hand(returns)
    np.testing.assert_allclose([vec_normalize.ret_rms.mean, vec_normalize.ret_rms.var], [mean, variance], rtol=1e-5)
    assert vec_normalize.ret_rms.count == pytest.approx(1e-4 + returns.size)
    # Saved within the second rollout, after four of its six steps: the statistics of the first.
    saved = VecNormalize.load(str(tmp_path / "rl_model_vecnormalize_16_steps.pkl"), venv)
    np.testing.assert_allclose(
        [saved.ret_rms.mean, saved.ret_rms.var], statistics_by_hand(returns[:N_STEPS]), rtol=1e-5
    )


def test_frozen_reward_statistics_stay_frozen() -> None:
    adversary = ScriptedAdversary()
    with wrapped_copies(adversary) as venv:
        vec_normalize = normalised(venv, norm_reward=True, training=False)
        vec_normalize.ret_rms.var = np.array(25.0)
        _, recorder = run(adversary, vec_normalize)
    assert vec_normalize.ret_rms.var == 25.0
    np.testing.assert_allclose(recorder.rollouts[2].rewards, recorder.rollouts[2].true_rewards(3) / 5, rtol=1e-5)


@pytest.mark.parametrize("wrapper", ["gym", "vec"])
@pytest.mark.parametrize("reset", [False, True])
def test_several_learns(wrapper: str, reset: bool) -> None:
    adversary, recorder = ScriptedAdversary(), Recorder()
    gail = GAILCallback(adversary, demonstrations_of(Scripted()))
    with wrapped_copies(adversary, wrapper=wrapper, ends="both") as venv:
        model = make_learner("PPO", venv, n_steps=5, gamma=0.9)
        for _ in range(3):
            model.learn(2 * 5 * 2, callback=[gail, recorder], reset_num_timesteps=reset)
    assert len(recorder.rollouts) == 6
    assert_rewarded(recorder.rollouts, gamma=0.9, gae_lambda=0.9)
    if not reset:
        assert adversary.progress == pytest.approx([0.5, 0, 0.25, 0, 1 / 6, 0])
        for before, after in zip(recorder.rollouts[:-1], recorder.rollouts[1:], strict=True):
            for last, first, ended in zip(before.truths[-1], after.truths[0], before.ends[-1], strict=True):
                if not ended:  # the same episode goes on
                    np.testing.assert_array_equal(last.next_observation, first.observation)


class Interrupting(BaseCallback):
    """Ends training within the second rollout: by `False`, or by an exception."""

    def __init__(self, how: type[BaseException] | None) -> None:
        super().__init__()
        self.how = how

    def _on_step(self) -> bool:
        if self.n_calls < N_STEPS + 2:
            return True
        if self.how is not None:
            raise self.how
        return False


def pays(venv: VecEnv) -> tuple[Array, Array]:
    """What the wrapper pays for one step of zeros, and what it should by the adversary's generation, one rollout in."""
    _, rewards, _, infos = venv.step(np.zeros((venv.num_envs, 2), np.float32))
    return rewards, linear_reward(transitions_of([info["truth"] for info in infos]), 1)


@pytest.mark.parametrize("wrapper", ["gym", "vec"])
@pytest.mark.parametrize("how", [None, RuntimeError, KeyboardInterrupt])
def test_after_an_interruption_the_wrapper_scores_again(wrapper: str, how: type[BaseException] | None) -> None:
    adversary = ScriptedAdversary()
    gail = GAILCallback(adversary, demonstrations_of(Scripted()))
    with wrapped_copies(adversary, wrapper=wrapper) as venv:
        vec_normalize = normalised(venv, norm_reward=True)
        model = make_learner("PPO", vec_normalize)
        if how is None:
            model.learn(36, callback=[gail, Interrupting(how)])
        else:
            with pytest.raises(how):
                model.learn(36, callback=[gail, Interrupting(how)])
            for _ in range(N_STEPS - 2):  # what is left of the rollout
                assert not pays(venv)[0].any()
        np.testing.assert_allclose(*pays(venv), rtol=1e-6)
        # The second rollout's zeros are in no statistics.
        assert vec_normalize.ret_rms.count == pytest.approx(1e-4 + 2 * N_STEPS)


@pytest.mark.parametrize("wrapper", ["gym", "vec"])
def test_after_an_interruption_a_reset_makes_the_wrapper_score_at_once(wrapper: str) -> None:
    adversary = ScriptedAdversary()
    gail = GAILCallback(adversary, demonstrations_of(Scripted()))
    with wrapped_copies(adversary, wrapper=wrapper, lengths=(1000,)) as venv:
        model = make_learner("PPO", venv)
        with pytest.raises(KeyboardInterrupt):
            model.learn(36, callback=[gail, Interrupting(KeyboardInterrupt)])
        venv.reset()
        np.testing.assert_allclose(*pays(venv), rtol=1e-6)


@pytest.mark.parametrize("wrapper", ["gym", "vec"])
def test_training_goes_on_after_an_interruption(wrapper: str) -> None:
    adversary, recorder = ScriptedAdversary(), Recorder()
    gail = GAILCallback(adversary, demonstrations_of(Scripted()))
    with wrapped_copies(adversary, wrapper=wrapper) as venv:
        model = make_learner("PPO", venv, gamma=0.9)
        with pytest.raises(KeyboardInterrupt):
            model.learn(36, callback=[gail, Interrupting(KeyboardInterrupt)])
        model.learn(36, callback=[gail, recorder], reset_num_timesteps=False)
    assert_rewarded(recorder.rollouts, gamma=0.9, gae_lambda=0.9, first_generation=2)


@pytest.mark.parametrize("wrapper", ["gym", "vec"])
@pytest.mark.parametrize("backend", ["dummy", "subproc"])
def test_after_training_all_copies_pay_the_trained_reward(wrapper: str, backend: str) -> None:
    adversary = ScriptedAdversary()
    with wrapped_copies(adversary, wrapper=wrapper, backend=backend) as venv:
        run(adversary, venv, n_rollouts=1)
        np.testing.assert_allclose(*pays(venv), rtol=1e-6)


def test_copies_get_a_loaded_state_when_training_starts() -> None:
    adversary, seen = ScriptedAdversary(), []

    class Looking(BaseCallback):
        def _on_training_start(self) -> None:
            [copies] = self.training_env.get_attr("adversary")
            seen.append(copies.generation)

        def _on_step(self) -> bool:
            return True

    venv = DummyVecEnv([lambda: GAILRewardWrapper(Scripted(), copy.deepcopy(adversary))])  # as a worker process does
    model = make_learner("PPO", venv)
    adversary.load_state_dict({"generation": 7})
    model.learn(6, callback=[GAILCallback(adversary, demonstrations_of(Scripted())), Looking()])
    assert seen == [7]


def test_worker_copies_of_a_discriminator_hold_its_trained_state() -> None:
    demonstrations = demonstrations_of(Scripted())
    discriminator = Discriminator.from_demonstrations(
        demonstrations, batch_size=4, transitions_per_step=2, hidden_sizes=(8,), learning_rate=0.1, spectral_norm=True
    )
    with wrapped_copies(discriminator, backend="subproc") as venv:
        model = make_learner("PPO", venv)
        model.learn(24, callback=GAILCallback(discriminator, demonstrations))
        _, rewards, _, infos = venv.step(np.zeros((2, 2), np.float32))
    expected = discriminator.reward(transitions_of([info["truth"] for info in infos]))
    np.testing.assert_allclose(rewards, expected.cpu(), rtol=1e-5)


@pytest.mark.parametrize("wrapper", ["gym", "vec"])
def test_callbacks_beside_it_show_true_returns(wrapper: str, tmp_path: Path) -> None:
    adversary = ScriptedAdversary()
    with (
        wrapped_copies(adversary, wrapper=wrapper, n_envs=1, lengths=(3, 4)) as venv,
        wrapped_copies(ScriptedAdversary(), wrapper=wrapper, n_envs=1, lengths=(3,)) as eval_venv,
    ):
        evaluating = EvalCallback(eval_venv, n_eval_episodes=1, eval_freq=4, verbose=0)
        beside = CallbackList([evaluating, CheckpointCallback(4, str(tmp_path)), StopTrainingOnMaxEpisodes(2)])
        model, recorder = run(adversary, venv, beside)
    assert evaluating.last_mean_reward == pytest.approx(3 * 1000 + (1 + 2 + 3))  # at step 4, on its first episode
    assert model.num_timesteps == 7
    assert PPO.load(tmp_path / "rl_model_4_steps.zip").num_timesteps == 4
    assert [episode["r"] for episode in recorder.episodes] == pytest.approx([3006, 4 * 1010 + 10])
    assert [episode["r"] for episode in model.ep_info_buffer or ()] == pytest.approx(
        [3006]
    )  # SB3 stops before the last


@pytest.mark.parametrize("order", ["before", "after"])
def test_the_order_of_callbacks_does_not_matter_when_one_stops(order: str) -> None:
    adversary = ScriptedAdversary()
    gail, stopping = GAILCallback(adversary, demonstrations_of(Scripted())), StopTrainingOnMaxEpisodes(3)
    with wrapped_copies(adversary, n_envs=1) as venv:
        model = make_learner("PPO", venv)
        model.learn(100, callback=[stopping, gail] if order == "before" else [gail, stopping])
        rewards, expected = pays(venv)
    assert model.num_timesteps == 10
    np.testing.assert_allclose(rewards, expected, rtol=1e-6)


class Rates(BaseCallback):
    """The learner's rate and weights as each rollout begins and training ends."""

    def __init__(self) -> None:
        super().__init__()
        self.rates: list[float] = []
        self.weights: list[Tensor] = []

    def _on_rollout_start(self) -> None:
        self.rates.append(self.model.policy.optimizer.param_groups[0]["lr"])
        self.weights.append(torch.nn.utils.parameters_to_vector(self.model.policy.parameters()).detach().clone())

    def _on_training_end(self) -> None:
        self._on_rollout_start()

    def _on_step(self) -> bool:
        return True


@pytest.mark.parametrize("learner", ["PPO", "A2C"])
def test_learning_rate_schedules_run_over_the_whole_of_one_learn(learner: str) -> None:
    adversary, rates = ScriptedAdversary(), Rates()

    def schedule(progress_remaining: float) -> float:
        return 1e-2 * progress_remaining

    with wrapped_copies(adversary) as venv:
        run(adversary, venv, rates, learner=learner, n_rollouts=4, learning_rate=schedule)
    assert rates.rates[1:] == pytest.approx([0.75e-2, 0.5e-2, 0.25e-2, 0.0])
    changes = [
        bool((after != before).any()) for before, after in zip(rates.weights[:-1], rates.weights[1:], strict=True)
    ]
    assert changes == [True, True, True, False]  # a rate of 0 comes last, not always
    assert adversary.progress == pytest.approx([0.75, 0.5, 0.25, 0.0])


class Frozen(ScriptedAdversary):
    """Always pays the same for the same."""

    def update(
        self, policy: Transitions, expert: Transitions, *, progress_remaining: float
    ) -> Mapping[str, float | Array]:
        return {}


class Paying(gym.Wrapper[Any, Any, Any, Any]):
    """Pays what `Frozen` does, by itself."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, _, terminated, truncated, info = super().step(action)
        return observation, float(linear_reward(transitions_of([info["truth"]]), 0)[0]), terminated, truncated, info

    def action_masks(self) -> Array:
        masks: Array = self.env.unwrapped.action_masks()  # type: ignore[attr-defined]
        return masks


class Advantages(BaseCallback):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Array, Array]] = []

    def _on_rollout_end(self) -> None:
        buffer = self.model.rollout_buffer  # type: ignore[attr-defined]
        self.seen.append((buffer.advantages.copy(), buffer.returns.copy()))

    def _on_step(self) -> bool:
        return True


LEARNERS_BESIDES: dict[str, tuple[Any, str, type[Scripted], dict[str, Any]]] = {
    "TRPO": (LEARNERS["TRPO"][0], "MlpPolicy", Scripted, {"net_arch": [4]}),
    "PPO": (LEARNERS["PPO"][0], "MlpPolicy", Choosing, {"net_arch": [4]}),
    "A2C": (LEARNERS["A2C"][0], "MlpPolicy", Scripted, {"net_arch": [4]}),
    "PPO with dict observations": (LEARNERS["PPO"][0], "MultiInputPolicy", Keyed, {"net_arch": [4]}),
    "MaskablePPO": (MaskablePPO, "MlpPolicy", Choosing, {"net_arch": [4]}),
    "RecurrentPPO": (RecurrentPPO, "MlpLstmPolicy", Scripted, {"net_arch": [4], "lstm_hidden_size": 4}),
}


@pytest.mark.parametrize("learner", LEARNERS_BESIDES)
@pytest.mark.parametrize("wrapper", ["gym", "vec"])
def test_with_a_frozen_adversary_training_is_sb3s_own_on_its_reward(learner: str, wrapper: str) -> None:
    algorithm, policy, kind, policy_kwargs = LEARNERS_BESIDES[learner]
    settings = {
        "n_steps": 7,
        "gamma": 0.9,
        "gae_lambda": 0.8,
        "seed": 0,
        "policy_kwargs": policy_kwargs,
    }
    if "A2C" not in learner:
        settings["batch_size"] = 14
    lengths, ends = (3, 5), "both"

    expected = Advantages()
    plain = DummyVecEnv([lambda copy=copy: Paying(kind(copy, lengths=lengths, ends=ends)) for copy in range(2)])  # type: ignore[misc]
    own = algorithm(policy, plain, **settings).learn(28, callback=expected)

    seen, adversary = Advantages(), Frozen()
    with wrapped_copies(adversary, wrapper=wrapper, kind=kind, lengths=lengths, ends=ends) as venv:
        gail = GAILCallback(adversary, demonstrations_of(kind()))
        ours = algorithm(policy, venv, **settings).learn(28, callback=[gail, seen])
    assert len(seen.seen) == len(expected.seen) == 2
    for (advantages, returns), (own_advantages, own_returns) in zip(seen.seen, expected.seen, strict=True):
        np.testing.assert_allclose(advantages, own_advantages, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(returns, own_returns, rtol=1e-4, atol=1e-4)
    for name, parameter in ours.policy.state_dict().items():
        torch.testing.assert_close(parameter, own.policy.state_dict()[name], rtol=1e-3, atol=1e-4)


def test_a_rollout_of_one_step() -> None:
    adversary = ScriptedAdversary()
    with wrapped_copies(adversary, n_envs=3, ends="both") as venv:
        _, recorder = run(adversary, venv, learner="A2C", n_steps=1, n_rollouts=9)
    assert_rewarded(recorder.rollouts, gamma=0.9, gae_lambda=0.9)


@pytest.mark.parametrize("wrapper", ["gym", "vec"])
@pytest.mark.parametrize("normalise", [False, True])
def test_images_whose_channels_sb3_moves(wrapper: str, normalise: bool) -> None:
    adversary, recorder = ScriptedAdversary(), Recorder()
    recorder.values = lambda observations: np.zeros(len(observations))  # type: ignore[method-assign]
    demonstrations = demonstrations_of(Pictured())
    with wrapped_copies(adversary, wrapper=wrapper, kind=Pictured) as venv:
        outer = VecNormalize(venv, norm_obs=False, norm_reward=True) if normalise else venv
        policy_kwargs = {"features_extractor_kwargs": {"features_dim": 4}}
        model = make_learner("PPO", outer, policy="CnnPolicy", policy_kwargs=policy_kwargs, gamma=0.9)
        env = model.get_env()
        assert isinstance(env, VecTransposeImage)
        model.learn(24, callback=[GAILCallback(adversary, demonstrations), recorder])
    assert len(adversary.policy_batches) == 2
    for rollout, seen in zip(recorder.rollouts, adversary.policy_batches, strict=True):
        truth = transitions_of([truth for step in rollout.truths for truth in step])
        assert seen.observations.dtype == np.uint8  # type: ignore[union-attr]
        np.testing.assert_array_equal(seen.observations, truth.observations)
        np.testing.assert_array_equal(seen.next_observations, truth.next_observations)
    if not normalise:
        np.testing.assert_allclose(recorder.rollouts[1].rewards, recorder.rollouts[1].true_rewards(2), rtol=1e-5)


def test_replayed_rollouts_come_before_the_new_one() -> None:
    adversary = ScriptedAdversary()
    demonstrations = demonstrations_of(Scripted())
    with pytest.raises(ValueError, match=r"replay_rollouts must be at least 0, got -1"):
        GAILCallback(adversary, demonstrations, replay_rollouts=-1)
    gail, recorder = GAILCallback(adversary, demonstrations, replay_rollouts=2), Recorder()
    with wrapped_copies(adversary) as venv:
        model = make_learner("PPO", venv, gamma=0.9)
        model.learn(4 * 12, callback=[gail, recorder])
    batches = adversary.policy_batches
    assert [len(batch) for batch in batches] == [12, 24, 36, 36]
    true = [transitions_of([truth for step in rollout.truths for truth in step]) for rollout in recorder.rollouts]
    expected = Transitions.concatenate(true[1:])
    np.testing.assert_array_equal(batches[-1].next_observations, np.asarray(expected.next_observations, np.float32))
    assert_rewarded(recorder.rollouts, gamma=0.9, gae_lambda=0.9)


@pytest.mark.parametrize(
    ("learner", "kind", "entropy"),
    [
        ("TRPO", Scripted, None),
        ("A2C", Scripted, None),
        ("PPO", Choosing, np.log(3)),  # nearly uniform at first
        ("MaskablePPO", Choosing, np.log(2)),  # one of three actions is masked
    ],
)
def test_surprising_actions_are_paid_their_causal_entropy(
    learner: str, kind: type[Scripted], entropy: float | None
) -> None:
    adversary, recorder = ScriptedAdversary(), Recorder()
    gail = GAILCallback(adversary, demonstrations_of(kind()), causal_entropy=(1.0, 0.2))
    with wrapped_copies(adversary, kind=kind, ends="both") as venv:
        model = make_learner(learner, venv, gamma=0.9)
        writer = Captured()
        model.set_logger(Logger(folder=None, output_formats=[writer]))
        model.learn(2 * 12, callback=[gail, recorder], log_interval=1)
    for index, (rollout, weight) in enumerate(zip(recorder.rollouts, (0.6, 0.2), strict=True)):
        learned = rollout.true_rewards(1 + index)
        paid = learned - weight * rollout.log_probs + 0.9 * rollout.bootstrap_values * rollout.truncated
        np.testing.assert_allclose(rollout.rewards, paid, rtol=1e-5, atol=1e-5)
        advantages = hand_written_gae(
            paid, rollout.values, rollout.ends, rollout.last_values, gamma=0.9, gae_lambda=0.9
        )
        np.testing.assert_allclose(rollout.advantages, advantages, rtol=1e-4, atol=1e-4)
        assert writer.values[index]["gail/policy_entropy"] == pytest.approx(-rollout.log_probs.mean(), rel=1e-5)
        assert writer.values[index]["gail/reward_mean"] == pytest.approx(learned.mean(), rel=1e-5)
    if entropy is not None:
        assert writer.values[0]["gail/policy_entropy"] == pytest.approx(entropy, rel=0.1)


def test_the_causal_entropy_is_normalised_with_the_reward() -> None:
    adversary, recorder = ScriptedAdversary(), Recorder()
    gail = GAILCallback(adversary, demonstrations_of(Scripted()), causal_entropy=0.5)
    with wrapped_copies(adversary, ends="terminated") as venv:
        vec_normalize = normalised(venv, norm_reward=True, training=False)
        vec_normalize.ret_rms.var = np.array(25.0)
        make_learner("PPO", vec_normalize).learn(12, callback=[gail, recorder])
    (rollout,) = recorder.rollouts
    np.testing.assert_allclose(rollout.rewards, (rollout.true_rewards(1) - 0.5 * rollout.log_probs) / 5, rtol=1e-5)


@pytest.mark.parametrize(
    ("weight", "error"), [(-0.1, ValueError), (np.inf, ValueError), ("0.1", TypeError), (True, TypeError)]
)
def test_a_causal_entropy_is_a_weight(weight: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"causal_entropy must be a (finite )?number"):
        GAILCallback(ScriptedAdversary(), demonstrations_of(Scripted()), causal_entropy=weight)


class Asking(ScriptedAdversary):
    """Wants log-likelihoods and pays them."""

    needs_log_prob = True

    def __init__(self) -> None:
        super().__init__()
        self.experts: list[Transitions] = []

    def reward(self, transitions: Transitions) -> Tensor:
        if transitions.log_prob is None:
            raise AssertionError("no log_prob")
        return torch.as_tensor(transitions.log_prob)

    def update(
        self, policy: Transitions, expert: Transitions, *, progress_remaining: float
    ) -> Mapping[str, float | Array]:
        self.experts.append(expert)
        return super().update(policy, expert, progress_remaining=progress_remaining)


def test_an_adversary_that_asks_gets_the_policys_likelihoods() -> None:
    adversary, recorder = Asking(), Recorder()
    stored: list[Array] = []

    class Stored(BaseCallback):
        def _on_rollout_end(self) -> None:
            stored.append(self.model.rollout_buffer.log_probs.copy())  # type: ignore[attr-defined]

        def _on_step(self) -> bool:
            return True

    demonstrations = demonstrations_of(Choosing())
    with wrapped_copies(adversary, wrapper="vec", kind=Choosing) as venv:
        model = make_learner("PPO", normalised(venv), gamma=0.9)
        model.learn(24, callback=[GAILCallback(adversary, demonstrations), Stored(), recorder])
    # What is sampled is executed, so these are the ones that SB3 stored, up to what VecNormalize learned meanwhile.
    for rollout, batch, log_probs in zip(recorder.rollouts, adversary.policy_batches, stored, strict=True):
        assert batch.log_prob is not None
        np.testing.assert_allclose(batch.log_prob, log_probs.ravel(), atol=0.1)
        np.testing.assert_allclose(rollout.rewards, batch.log_prob.reshape(rollout.rewards.shape), rtol=1e-6)
    for expert in adversary.experts:
        assert expert.log_prob is not None
        assert expert.log_prob.shape == (len(demonstrations),)
        assert (expert.log_prob < 0).all()


def test_a_policy_without_likelihoods_is_refused_before_anything_is_collected() -> None:
    adversary = Asking()
    with wrapped_copies(adversary) as venv:
        model = RecurrentPPO("MlpLstmPolicy", venv, n_steps=6)
        with pytest.raises(TypeError, match="RecurrentActorCriticPolicy is recurrent"):
            model.learn(12, callback=GAILCallback(adversary, demonstrations_of(Scripted())))
        assert model.num_timesteps == 0


def test_likelihoods_without_masks_are_told() -> None:
    with wrapped_copies(Asking(), kind=Choosing) as venv:
        [adversary] = {id(each): each for each in venv.get_attr("adversary")}.values()
        gail = GAILCallback(adversary, demonstrations_of(Choosing()))
        with pytest.warns(UserWarning, match="those of MaskablePPO are taken without its action masks"):
            make_learner("MaskablePPO", venv).learn(12, callback=gail)


class Captured(KVWriter):
    """Keeps what a logger writes."""

    def __init__(self) -> None:
        self.values: list[dict[str, Any]] = []
        self.excluded: dict[str, tuple[str, ...]] = {}

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        self.values.append(dict(key_values))
        self.excluded.update(key_excluded)

    def close(self) -> None:
        pass


def test_everything_is_logged_under_gail(tmp_path: Path) -> None:
    demonstrations = demonstrations_of(Scripted())
    discriminator = Discriminator.from_demonstrations(
        demonstrations, batch_size=4, transitions_per_step=3, hidden_sizes=(8,), entropy_bonus=0.01, weight_decay=0.01
    )
    writer, recorder = Captured(), Recorder()
    with wrapped_copies(discriminator, lengths=(3, 4)) as venv:
        model = make_learner("PPO", venv, gamma=0.9)
        model.set_logger(Logger(None, [writer]))
        model.learn(24, callback=[GAILCallback(discriminator, demonstrations), recorder])
    logged = writer.values[-1]
    scalars = {name.removeprefix("gail/") for name, value in logged.items() if isinstance(value, float)}
    assert {
        "loss",
        "adversarial_loss",
        "gradient_penalty",
        "entropy_bonus",
        "weight_decay",
        "expert_accuracy",
        "policy_accuracy",
        "expert_logit",
        "policy_logit",
        "reward_mean",
        "reward_std",
        "time_share",
    } <= scalars
    assert 0 < logged["gail/time_share"] <= 1
    rewards = recorder.rollouts[-1].rewards
    assert logged["gail/reward_mean"] == pytest.approx(rewards.mean(), rel=1e-5)
    assert logged["gail/reward_std"] == pytest.approx(rewards.std(), rel=1e-4)
    for name in ("gail/rewards", "gail/expert_logits", "gail/policy_logits"):
        assert isinstance(logged[name], torch.Tensor)
        assert set(writer.excluded[name]) == {"stdout", "log", "json", "csv"}
    np.testing.assert_allclose(logged["gail/rewards"], rewards.ravel(), rtol=1e-6)
    assert len(logged["gail/policy_logits"]) == 4 * 4  # twelve transitions, three a step: four steps of four
    assert logged["gail/policy_accuracy"] == pytest.approx((logged["gail/policy_logits"] < 0).float().mean())
    assert logged["rollout/ep_rew_mean"] == pytest.approx(np.mean([episode["r"] for episode in recorder.episodes]))


class Spoiled(ScriptedAdversary):
    def __init__(self, rewards: Tensor) -> None:
        super().__init__()
        self.rewards = rewards

    def reward(self, transitions: Transitions) -> Tensor:
        return self.rewards


@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        (torch.zeros(12, 1), r"must be of shape \(12,\), got \(12, 1\)"),
        (torch.full((12,), float("nan")), r"must be finite, got 12 values of 12"),
        (torch.tensor([float("inf")] + [0.0] * 11), r"must be finite, got 1 values of 12"),
    ],
)
def test_an_adversary_that_pays_nonsense_is_stopped(rewards: Tensor, message: str) -> None:
    adversary = Spoiled(rewards)
    with wrapped_copies(adversary) as venv, pytest.raises(ValueError, match=message):
        run(adversary, venv)


def test_an_adversary_that_pays_no_tensor_is_refused() -> None:
    adversary = Spoiled(np.zeros(12))  # type: ignore[arg-type]
    with (
        wrapped_copies(adversary) as venv,
        pytest.raises(TypeError, match="reward must return a tensor, got ndarray"),
    ):
        run(adversary, venv)


class Silent(ScriptedAdversary):
    """Tells no metrics."""

    def update(self, *args: Any, **kwargs: Any) -> Any:
        return None


def test_an_update_without_metrics_is_refused() -> None:
    adversary = Silent()
    with (
        wrapped_copies(adversary) as venv,
        pytest.raises(TypeError, match="update must return a mapping of metrics, got NoneType"),
    ):
        run(adversary, venv)


@pytest.mark.parametrize("nested", [False, True])
def test_two_of_them_are_refused(nested: bool) -> None:
    adversary, demonstrations = ScriptedAdversary(), demonstrations_of(Scripted())
    one, other = GAILCallback(adversary, demonstrations), GAILCallback(adversary, demonstrations)
    with wrapped_copies(adversary) as venv:
        model = make_learner("PPO", venv)
        with pytest.raises(ValueError, match="expected one GAILCallback, got several"):
            model.learn(12, callback=[one, CallbackList([other]) if nested else other])
        assert model.num_timesteps == 0


def test_what_is_no_adversary_or_demonstrations_is_refused() -> None:
    demonstrations = demonstrations_of(Scripted())
    with pytest.raises(TypeError, match=r"adversary must be an Adversary such as .*, got Demonstrations"):
        GAILCallback(demonstrations, demonstrations)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"demonstrations must be Demonstrations, .*, got str"):
        GAILCallback(ScriptedAdversary(), "hopper.npz")  # type: ignore[arg-type]


@pytest.mark.parametrize("algorithm", [SAC, TD3, DQN, ARS])
def test_learners_without_rollouts_are_refused(algorithm: Any) -> None:
    kind: type[Scripted] = Choosing if algorithm is DQN else Scripted
    adversary = ScriptedAdversary()
    gail = GAILCallback(adversary, demonstrations_of(kind()))
    with wrapped_copies(adversary, kind=kind, n_envs=1) as venv:
        model = algorithm("MlpPolicy", venv, policy_kwargs={"net_arch": [4]})
        with pytest.raises(
            TypeError, match=rf"\(A2C, PPO, TRPO, MaskablePPO, RecurrentPPO\), got {algorithm.__name__}"
        ):
            model.learn(10, callback=gail)
        assert model.num_timesteps == 0


@pytest.mark.parametrize("wrapper", ["gym", "vec"])
@pytest.mark.parametrize(("kind", "message"), [(Choosing, "actions"), (Keyed, "observations")])
def test_demonstrations_that_do_not_fit_the_environment_are_refused(
    kind: type[Scripted], message: str, wrapper: str
) -> None:
    adversary = ScriptedAdversary()
    gail = GAILCallback(adversary, demonstrations_of(kind()))
    with wrapped_copies(adversary, wrapper=wrapper) as venv:
        model = make_learner("PPO", venv)
        with pytest.raises(ValueError, match=message):
            model.learn(10, callback=gail)
        assert model.num_timesteps == 0


class Drifting(Scripted):
    """With observations far from zero."""

    def observe(self) -> Any:
        return 100.0 + 30.0 * super().observe()


@pytest.mark.parametrize(("learner", "n_steps"), [("PPO", 150), ("A2C", 5)])
def test_demonstrations_that_look_normalised_are_told(learner: str, n_steps: int) -> None:
    rng = np.random.default_rng(0)
    env = Drifting()
    demonstrations = Demonstrations.from_arrays(
        rng.normal(size=(301, 4)).astype(np.float32),
        rng.uniform(-0.5, 0.5, size=(300, 2)).astype(np.float32),
        lengths=[300],
        observation_space=env.observation_space,
        action_space=env.action_space,
    )
    adversary = ScriptedAdversary()
    with wrapped_copies(adversary, kind=Drifting, lengths=(20, 30)) as venv:
        model = make_learner(learner, venv, n_steps=n_steps)
        with pytest.warns(UserWarning, match="normalised") as warned:
            model.learn(600, callback=GAILCallback(adversary, demonstrations))
    assert len(warned) == 1


@pytest.mark.parametrize("around", ["each", "all", "envpool"])
def test_demonstrations_of_another_task_are_told(around: str) -> None:
    known = Demonstrations.load(shipped("CartPole-v1")).take(2).whole
    demonstrations = Demonstrations.from_arrays(
        known.observations,
        known.actions,
        lengths=known.lengths,
        terminated=[True, True],
        env_id="Balancing-v0",
        action_space=spaces.Discrete(2),
    )
    adversary = ScriptedAdversary()
    if around == "each":
        venv: VecEnv = DummyVecEnv([lambda: GAILRewardWrapper(gym.make("CartPole-v1"), adversary)])
    elif around == "all":
        venv = GAILRewardVecWrapper(DummyVecEnv([lambda: gym.make("CartPole-v1")]), adversary)
    else:
        pytest.importorskip("envpool")
        venv = GAILRewardVecWrapper(EnvPoolVecEnv("CartPole-v1", 1), adversary)
    model = make_learner("PPO", normalised(venv))
    with pytest.warns(UserWarning, match=r"Balancing-v0|time limit") as warned:
        model.learn(1, callback=GAILCallback(adversary, demonstrations))
    other, ends = (str(warning.message) for warning in warned)
    assert "name the environment Balancing-v0, training is on CartPole-v1" in other
    assert "do so at the environment's time limit of 500 steps" in ends


class Grid(gym.Env[Any, Any]):
    """A ring of six states; three actions move by -1, 0 and 1; an episode is cut after ten steps."""

    N_STATES, N_STEPS = 6, 10

    def __init__(self) -> None:
        self.observation_space = spaces.Discrete(self.N_STATES)
        self.action_space = spaces.Discrete(3)
        self.state = self.t = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = self.t = 0
        return self.state, {}

    def step(self, action: Any) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.state = (self.state + int(action) - 1) % self.N_STATES
        self.t += 1
        return self.state, 0.0, False, self.t == self.N_STEPS, {}

    @classmethod
    def occupancy(cls, policy: Array) -> Array:
        """Exact share of time in each state and action under action probabilities `[states, 3]`."""
        states, visited = np.eye(cls.N_STATES)[0], np.zeros((cls.N_STATES, 3))
        for _ in range(cls.N_STEPS):
            both = states[:, None] * policy
            visited += both / cls.N_STEPS
            states = sum((np.roll(both[:, action], action - 1) for action in range(3)), np.zeros(cls.N_STATES))
        return visited


class Occupancies(BaseCallback):
    """The exact occupancy measure of each rollout's policy."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Array] = []

    def _on_rollout_start(self) -> None:
        policy: Any = self.model.policy
        with torch.no_grad():
            probabilities = policy.get_distribution(
                torch.arange(Grid.N_STATES, device=self.model.device)
            ).distribution.probs
        self.seen.append(Grid.occupancy(probabilities.cpu().numpy()))

    def _on_step(self) -> bool:
        return True


def test_the_occupancy_measure_approaches_the_experts() -> None:
    # Goes to state 3, and there stays or goes back and forth.
    expert = np.array([[0, 0.2, 0.8], [0, 0.1, 0.9], [0, 0.2, 0.8], [0.3, 0.7, 0], [0.8, 0.2, 0], [0.8, 0.2, 0]])
    rng = np.random.default_rng(0)
    states, actions = [], []
    for _ in range(100):
        state = 0
        states.append(state)
        for _ in range(Grid.N_STEPS):
            action = rng.choice(3, p=expert[state])
            state = (state + action - 1) % Grid.N_STATES
            actions.append(action)
            states.append(state)
    space = Grid()
    demonstrations = Demonstrations.from_arrays(
        np.array(states),
        np.array(actions),
        lengths=[Grid.N_STEPS] * 100,
        truncated=np.ones(100, dtype=bool),
        observation_space=space.observation_space,
        action_space=space.action_space,
    )
    torch.manual_seed(0)
    discriminator = Discriminator.from_demonstrations(
        demonstrations,
        hidden_sizes=(32,),
        learning_rate=3e-3,
        batch_size=128,
        transitions_per_step=16,
        gradient_penalty=0.01,
    )
    venv = GAILRewardVecWrapper(DummyVecEnv([Grid] * 8), discriminator)
    settings: dict[str, Any] = {"target_kl": 0.02, "learning_rate": 3e-3, "policy_kwargs": {"net_arch": [16]}}
    model = make_learner("TRPO", venv, n_steps=20, gamma=0.9, **settings)
    occupancies = Occupancies()
    model.learn(24 * 160, callback=[GAILCallback(discriminator, demonstrations), occupancies])

    def distance(occupancy: Array) -> float:
        return float(np.abs(occupancy - Grid.occupancy(expert)).sum() / 2)

    assert distance(occupancies.seen[0]) > 0.6
    # The policies circle around the expert's: their mixture is close to it.
    assert distance(np.mean(occupancies.seen[12:], axis=0)) < 0.2


class Repeating(gym.Wrapper[Any, Any, Any, Any]):
    """Takes each action twice."""

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        step = super().step(action)
        return step if step[2] or step[3] else super().step(action)


def test_steps_that_the_learner_does_not_see_are_noticed() -> None:
    adversary = ScriptedAdversary()
    venv = DummyVecEnv([lambda: Repeating(GAILRewardWrapper(Scripted(lengths=(100,)), adversary))])
    model = make_learner("PPO", venv)
    with pytest.raises(ValueError, match=r"expected unscored steps to pay 0, got .* put it inside"):
        model.learn(12, callback=GAILCallback(adversary, demonstrations_of(Scripted())))


@pytest.mark.parametrize("backend", ["dummy", "subproc"])
@pytest.mark.parametrize("monitor", ["gym", "vec"])
@pytest.mark.parametrize("wrapper", ["gym", "vec"])
def test_a_monitor_outside_shows_true_returns_as_well(wrapper: str, monitor: str, backend: str) -> None:
    adversary = ScriptedAdversary()

    def make() -> gym.Env[Any, Any]:
        env: gym.Env[Any, Any] = Scripted(lengths=(3,))
        if wrapper == "gym":
            env = GAILRewardWrapper(env, adversary)
        return Monitor(env) if monitor == "gym" else env

    venv: VecEnv = DummyVecEnv([make]) if backend == "dummy" else SubprocVecEnv([make], start_method="fork")
    venv = GAILRewardVecWrapper(venv, adversary) if wrapper == "vec" else venv
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The environment is already wrapped with a `Monitor`")
        venv = VecMonitor(venv) if monitor == "vec" else venv
    truth = demonstrations_of(Scripted(lengths=(3,)), n_episodes=1)
    model = make_learner("PPO", venv)
    model.learn(6, callback=GAILCallback(adversary, truth))
    returns = [episode["r"] for episode in model.ep_info_buffer or ()]
    venv.close()
    assert len(returns) == 2
    assert all(value != 0.0 for value in returns)
    assert returns == pytest.approx(_returns_without_gail(model.seed), rel=1e-6)


def _returns_without_gail(seed: int | None) -> list[float]:
    """Of the same first rollout on the bare environment."""
    model = make_learner("PPO", DummyVecEnv([lambda: Monitor(Scripted(lengths=(3,)))]))
    assert model.seed == seed
    model.learn(6)
    return [episode["r"] for episode in model.ep_info_buffer or ()]
