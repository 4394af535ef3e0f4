from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import TQC, TRPO, MaskablePPO, RecurrentPPO
from spaces_env import BOX, DICT, IMAGE, VECTOR, SpacesEnv, random_demonstrations
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_gail.likelihood import actor_parameters, cloning_loss, log_prob, policy_batch
from sb3_gail.transitions import Transitions


def gaussian(actions: Any, mean: Any, log_std: Any) -> Any:
    """Log-density of independent normal actions `[B, A]`, written out."""
    return (-((actions - mean) ** 2) / (2 * np.exp(2 * log_std)) - log_std - np.log(2 * np.pi) / 2).sum(axis=1)


def test_gaussian_policy_on_normalised_observations() -> None:
    venv = VecNormalize(DummyVecEnv([lambda: SpacesEnv(VECTOR, BOX)]))
    statistics: Any = venv.obs_rms
    statistics.mean, statistics.var = np.array([1.0, 2.0, 3.0]), np.array([4.0, 1.0, 9.0])
    model = TRPO("MlpPolicy", venv, policy_kwargs={"log_std_init": -0.5})
    transitions = random_demonstrations(VECTOR, BOX).transitions()
    normalised = (np.asarray(transitions.observations) - [1.0, 2.0, 3.0]) / [2.0, 1.0, 3.0]
    with torch.no_grad():
        latent = model.policy.mlp_extractor.policy_net(
            torch.as_tensor(normalised, dtype=torch.float32, device=model.device)
        )
        mean = model.policy.action_net(latent).cpu().numpy()
    expected = gaussian(np.asarray(transitions.actions), mean, -0.5)
    np.testing.assert_allclose(log_prob(model, transitions), expected, rtol=1e-4, atol=1e-4)


def test_squashed_policy_on_its_own_scale_of_actions() -> None:
    model = SAC("MlpPolicy", DummyVecEnv([lambda: SpacesEnv(VECTOR, BOX)]), buffer_size=10)
    transitions = random_demonstrations(VECTOR, BOX).transitions()
    actions: Any = transitions.actions
    actions[0] = BOX.high  # where the density of a squashed Gaussian is none
    scaled = np.clip((np.asarray(transitions.actions) - [0.0, 0.5]) / [2.0, 0.5], -0.99, 0.99)
    with torch.no_grad():
        mean, log_std, _ = model.actor.get_action_dist_params(
            model.policy.obs_to_tensor(np.asarray(transitions.observations))[0]
        )
    density = gaussian(np.arctanh(scaled), mean.cpu().numpy(), log_std.cpu().numpy()) - np.log(1 - scaled**2).sum(
        axis=1
    )
    np.testing.assert_allclose(log_prob(model, transitions), density, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "action_space",
    [BOX, spaces.Discrete(4), spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(3)],
    ids=["box", "discrete", "multidiscrete", "multibinary"],
)
@pytest.mark.parametrize(
    "observation_space", [VECTOR, spaces.Discrete(5), IMAGE, DICT], ids=["vector", "discrete", "image", "dict"]
)
def test_equals_what_sb3_stores_in_a_rollout(
    observation_space: spaces.Space[Any], action_space: spaces.Space[Any]
) -> None:
    policy = (
        "CnnPolicy" if observation_space is IMAGE else "MultiInputPolicy" if observation_space is DICT else "MlpPolicy"
    )
    settings: dict[str, Any] = {"log_std_init": -5.0} if action_space is BOX else {}  # samples are inside the bounds
    venv = DummyVecEnv([lambda: SpacesEnv(observation_space, action_space)])
    model = A2C(policy, venv, n_steps=4, seed=0, policy_kwargs=settings)
    if action_space is BOX:
        torch.nn.init.constant_(model.policy.action_net.get_parameter("bias"), 0.5)
    recorder = Recorder()
    model.learn(4, callback=recorder)
    model.policy.load_state_dict(recorder.weights)
    executed = np.concatenate(recorder.actions)
    raw = (
        {key: np.concatenate([rows[key] for rows in recorder.observations]) for key in DICT.spaces}
        if (observation_space is DICT)
        else np.concatenate(recorder.observations)
    )
    transitions = Transitions(raw, executed, raw, np.zeros(4, dtype=bool))
    np.testing.assert_allclose(log_prob(model, transitions), recorder.log_probs, rtol=1e-4, atol=1e-4)


class Recorder(BaseCallback):
    """Keeps the first rollout's raw observations, executed actions and log-likelihoods."""

    def __init__(self) -> None:
        super().__init__()
        self.observations: list[Any] = []
        self.actions: list[Any] = []
        self.last: Any = None

    def _on_rollout_start(self) -> None:
        self.last = self.raw(self.model._last_obs)

    def raw(self, observations: Any) -> Any:
        """Images with channels last, as the environment has them."""
        if isinstance(observations, dict):
            return {key: self.raw(rows) for key, rows in observations.items()}
        return np.moveaxis(observations, 1, -1).copy() if observations.ndim == 4 else observations.copy()

    def _on_step(self) -> bool:
        self.observations.append(self.last)
        self.actions.append(self.locals["clipped_actions"])
        self.last = self.raw(self.locals["new_obs"])
        return True

    def _on_rollout_end(self) -> None:
        self.log_probs = self.model.rollout_buffer.log_probs.ravel().copy()  # type: ignore[attr-defined]
        self.weights = {name: value.clone() for name, value in self.model.policy.state_dict().items()}


def test_masks_are_not_applied() -> None:
    model = MaskablePPO("MlpPolicy", SpacesEnv(VECTOR, spaces.Discrete(4)))
    transitions = random_demonstrations(VECTOR, spaces.Discrete(4)).transitions()
    probabilities = np.exp(
        [
            log_prob(
                model,
                Transitions(transitions.observations, np.full(20, a), transitions.observations, transitions.terminated),
            )
            for a in range(4)
        ]
    )
    np.testing.assert_allclose(probabilities.sum(axis=0), 1.0, rtol=1e-5)


def test_of_more_rows_than_are_taken_at_once_and_of_none_left_in_training_mode() -> None:
    model = PPO("MlpPolicy", SpacesEnv(VECTOR, BOX), policy_kwargs={"features_extractor_kwargs": {}})
    model.policy.set_training_mode(True)
    transitions = random_demonstrations(VECTOR, BOX, n_steps=5000).transitions()
    whole = log_prob(model, transitions)
    assert whole.shape == (5000,)
    assert whole.dtype == np.float32
    assert model.policy.training
    np.testing.assert_allclose(whole[4999:], log_prob(model, transitions[4999:]), rtol=1e-5)


@pytest.mark.parametrize("algorithm", [A2C, PPO, TRPO])
def test_the_actor_of_an_on_policy_learner(algorithm: Any) -> None:
    model = algorithm("MlpPolicy", SpacesEnv(VECTOR, BOX))
    names = {id(parameter): name for name, parameter in model.policy.named_parameters()}
    actor = {names[id(parameter)] for parameter in actor_parameters(model.policy)}
    assert actor == {name for name in names.values() if "value" not in name}


@pytest.mark.parametrize("shared", [True, False])
def test_the_actor_has_a_shared_feature_extractor_and_not_the_critics_own(shared: bool) -> None:
    venv = DummyVecEnv([lambda: SpacesEnv(IMAGE, BOX)])
    model = PPO("CnnPolicy", venv, policy_kwargs={"share_features_extractor": shared})
    actor = set(map(id, actor_parameters(model.policy)))
    assert actor >= set(map(id, model.policy.pi_features_extractor.parameters()))
    assert actor.isdisjoint(map(id, model.policy.value_net.parameters()))
    if not shared:
        assert actor.isdisjoint(map(id, model.policy.vf_features_extractor.parameters()))


def test_the_actor_is_without_frozen_parameters() -> None:
    model = PPO("MlpPolicy", SpacesEnv(VECTOR, BOX))
    model.policy.log_std.requires_grad_(False)
    assert all(parameter is not model.policy.log_std for parameter in actor_parameters(model.policy))


@pytest.mark.parametrize("algorithm", [SAC, TQC, TD3])
def test_the_actor_of_an_off_policy_learner(algorithm: Any) -> None:
    model = algorithm("MlpPolicy", SpacesEnv(VECTOR, BOX), buffer_size=10)
    assert set(map(id, actor_parameters(model.policy))) == set(map(id, model.actor.parameters()))


def test_cloning_loss_is_the_negative_log_likelihood() -> None:
    model = PPO("MlpPolicy", SpacesEnv(VECTOR, BOX))
    transitions = random_demonstrations(VECTOR, BOX).transitions()
    loss = cloning_loss(model.policy, *policy_batch(model, transitions.observations, transitions.actions))
    assert loss.requires_grad
    np.testing.assert_allclose(loss.detach().cpu().numpy(), -log_prob(model, transitions), rtol=1e-5)


def test_cloning_loss_of_a_deterministic_actor_is_its_squared_error() -> None:
    model = TD3("MlpPolicy", SpacesEnv(VECTOR, BOX), buffer_size=10)
    transitions = random_demonstrations(VECTOR, BOX).transitions()
    chosen, _ = model.predict(np.asarray(transitions.observations), deterministic=True)
    error = (chosen - np.asarray(transitions.actions)) / [2.0, 0.5]  # half the range of each action
    loss = cloning_loss(model.policy, *policy_batch(model, transitions.observations, transitions.actions))
    np.testing.assert_allclose(loss.detach().cpu().numpy(), (error**2).sum(axis=1), rtol=1e-4, atol=1e-5)
    with pytest.raises(TypeError, match="deterministic"):
        log_prob(model, transitions)


def test_state_dependent_exploration() -> None:
    model = PPO("MlpPolicy", SpacesEnv(VECTOR, BOX), use_sde=True, policy_kwargs={"squash_output": True})
    transitions = random_demonstrations(VECTOR, BOX).transitions()
    assert np.isfinite(log_prob(model, transitions)).all()
    assert any(parameter is model.policy.log_std for parameter in actor_parameters(model.policy))


def test_a_model_without_an_environment() -> None:
    env = make_vec_env(lambda: SpacesEnv(VECTOR, BOX))
    model = PPO("MlpPolicy", env)
    transitions = random_demonstrations(VECTOR, BOX).transitions()
    expected = log_prob(model, transitions)
    model.env = None
    np.testing.assert_array_equal(log_prob(model, transitions), expected)


def test_recurrent_policies_are_refused() -> None:
    model = RecurrentPPO("MlpLstmPolicy", SpacesEnv(VECTOR, BOX))
    with pytest.raises(TypeError, match="recurrent"):
        log_prob(model, random_demonstrations(VECTOR, BOX).transitions())
    with pytest.raises(TypeError, match="recurrent"):
        actor_parameters(model.policy)


def test_policies_without_an_actor_are_refused() -> None:
    model = DQN("MlpPolicy", SpacesEnv(VECTOR, spaces.Discrete(2)), buffer_size=10)
    with pytest.raises(TypeError, match="no actor; expected a policy of A2C"):
        log_prob(model, random_demonstrations(VECTOR, spaces.Discrete(2)).transitions())
    with pytest.raises(TypeError, match="no actor"):
        actor_parameters(model.policy)
