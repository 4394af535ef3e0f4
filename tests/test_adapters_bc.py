from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import TRPO, MaskablePPO, RecurrentPPO
from spaces_env import BOX, DICT, IMAGE, VECTOR, SpacesEnv, random_demonstrations
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize, VecTransposeImage

from sb3_gail import Demonstrations
from sb3_gail.adapters import BCResult, bc, pretrain_bc
from sb3_gail.likelihood import log_prob

WIDE = spaces.Box(-10.0, 10.0, (2,), np.float32)
GAIN = np.array([[1.0, -2.0], [0.5, 0.0], [-1.0, 3.0]])


def linear_demonstrations(
    action_space: spaces.Box = WIDE, *, deviation: float = 0.5, n: int = 400, seed: int = 0
) -> Demonstrations:
    """Actions that are linear in observations with mean 3 and deviation 2, plus noise."""
    generator = np.random.default_rng(seed)
    observations = generator.normal(3.0, 2.0, (n + 1, 3)).astype(np.float32)
    means = (observations[:-1] - 3.0) / 2.0 @ GAIN
    actions = np.clip(means + deviation * generator.normal(size=means.shape), action_space.low, action_space.high)
    return Demonstrations.from_arrays(
        observations,
        actions.astype(np.float32),
        lengths=[n],
        observation_space=spaces.Box(-np.inf, np.inf, (3,), np.float32),
        action_space=action_space,
    )


def linear_env(action_space: spaces.Box = WIDE) -> DummyVecEnv:
    return DummyVecEnv([lambda: SpacesEnv(spaces.Box(-np.inf, np.inf, (3,), np.float32), action_space)])


def linear_model(algorithm: Any = TRPO, venv: Any = None) -> Any:
    return algorithm("MlpPolicy", venv or linear_env(), seed=0, policy_kwargs={"net_arch": []})


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.policy.state_dict().items()}


def changed(model: Any, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in model.policy.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("algorithm", [A2C, PPO, TRPO])
def test_a_linear_gaussian_policy_becomes_least_squares(algorithm: Any) -> None:
    model, demonstrations = linear_model(algorithm), linear_demonstrations()
    pretrain_bc(model, demonstrations, epochs=400, batch_size=400, learning_rate=0.03, l2=0.0, validation_fraction=0)
    observations = np.asarray(demonstrations.transitions().observations)
    actions = np.asarray(demonstrations.transitions().actions)
    design = np.column_stack([observations, np.ones(len(observations))])
    solution, *_ = np.linalg.lstsq(design, actions, rcond=None)
    residual = actions - design @ solution
    mean, _ = model.predict(observations, deterministic=True)
    np.testing.assert_allclose(mean, np.clip(design @ solution, -10, 10), atol=0.02)
    np.testing.assert_allclose(
        model.policy.log_std.detach().cpu(), np.log(residual.std(axis=0)).clip(min=0.0), atol=0.02
    )


HELD_OUT = np.random.default_rng(5).permutation(400)[:100]
"""Of 400 transitions, a quarter with the seed 5."""


@pytest.mark.parametrize("backend", ["torch", "imitation"])
def test_losses_are_mean_negative_log_likelihoods(backend: str) -> None:
    if backend == "imitation":
        pytest.importorskip("imitation")
    model, demonstrations = linear_model(), linear_demonstrations(deviation=3.0)
    result = pretrain_bc(model, demonstrations, epochs=1, learning_rate=1e-12, validation_fraction=0, backend=backend)
    assert isinstance(result, BCResult)
    losses = -log_prob(model, demonstrations.transitions())
    assert list(result.training_losses) == [pytest.approx(losses.mean(), rel=1e-4)]
    assert result.validation_losses == ()


@pytest.mark.parametrize("backend", ["torch", "imitation"])
def test_held_out_rows_are_judged_with_the_deviation_that_fits_them_best(backend: str) -> None:
    if backend == "imitation":
        pytest.importorskip("imitation")
    model, demonstrations = linear_model(), linear_demonstrations(deviation=3.0)
    settings: dict[str, Any] = {"learning_rate": 1e-12, "validation_fraction": 0.25, "backend": backend, "seed": 5}
    result = pretrain_bc(model, demonstrations, epochs=3, **settings)
    rows = demonstrations.transitions()[HELD_OUT]
    mean, _ = model.predict(np.asarray(rows.observations), deterministic=True)
    deviation = np.sqrt(((np.asarray(rows.actions) - mean) ** 2).mean(axis=0))
    np.testing.assert_allclose(model.policy.log_std.detach().cpu(), np.log(deviation), rtol=1e-4)
    assert result.validation_losses == pytest.approx([-log_prob(model, rows).mean()] * 3, rel=1e-4)


@pytest.mark.parametrize(("algorithm", "arguments"), [(SAC, {}), (A2C, {"use_sde": True})])
def test_held_out_rows_are_judged_by_their_likelihood_where_the_deviation_depends_on_them(
    algorithm: Any, arguments: dict[str, Any]
) -> None:
    model = algorithm("MlpPolicy", linear_env(), seed=0, **arguments)
    before = weights(model)
    demonstrations = linear_demonstrations()
    settings: dict[str, Any] = {"epochs": 1, "learning_rate": 1e-12, "validation_fraction": 0.25, "seed": 5}
    result = pretrain_bc(model, demonstrations, **settings)
    rows = demonstrations.transitions()[HELD_OUT]
    assert list(result.validation_losses) == [pytest.approx(-log_prob(model, rows).mean(), rel=1e-4)]
    for name, value in model.policy.state_dict().items():
        torch.testing.assert_close(value, before[name])


@pytest.mark.parametrize("backend", ["torch", "imitation"])
def test_early_stopping_says_how_many_passes_through_everything(backend: str) -> None:
    if backend == "imitation":
        pytest.importorskip("imitation")
    demonstrations = linear_demonstrations(deviation=3.0, n=30)  # few and noisy: it overfits at once
    settings: dict[str, Any] = {"batch_size": 30, "learning_rate": 0.02, "l2": 0.0, "log_std": 0.0, "backend": backend}
    stopped, plain = (TRPO("MlpPolicy", linear_env(), seed=0) for _ in range(2))
    result = pretrain_bc(stopped, demonstrations, epochs=500, patience=5, validation_fraction=0.5, **settings)
    losses = result.validation_losses
    assert len(losses) == len(result.training_losses) == result.best_epoch + 6 < 500
    assert losses[result.best_epoch] == min(losses) < losses[-1]
    pretrain_bc(plain, demonstrations, epochs=result.best_epoch + 1, validation_fraction=0, **settings)
    for name, value in plain.policy.state_dict().items():
        torch.testing.assert_close(stopped.policy.state_dict()[name], value, rtol=1e-3, atol=1e-4)


def test_the_deviation_is_the_one_of_the_best_epoch() -> None:
    model, demonstrations = linear_model(), linear_demonstrations(deviation=3.0, n=30)
    settings: dict[str, Any] = {"learning_rate": 0.05, "l2": 0.0, "validation_fraction": 0.5, "batch_size": 5}
    losses = pretrain_bc(model, demonstrations, epochs=200, patience=20, **settings).validation_losses
    assert min(losses) < losses[-1]
    log_std = model.policy.log_std.detach().cpu()
    assert (log_std > 0.0).all()  # so no floor decides
    assert float(log_std.sum()) + 1 + np.log(2 * np.pi) == pytest.approx(min(losses), rel=1e-5)


def test_rows_that_are_met_by_chance_do_not_count_for_everything() -> None:
    observations = np.zeros((31, 3), np.float32)
    demonstrations = Demonstrations.from_arrays(
        observations, np.zeros((30, 2), np.float32), lengths=[30], action_space=WIDE
    )
    # Biases are 0 at first, so it errs nowhere; the deviations may be no smaller than 1, a tenth of half the range.
    result = pretrain_bc(linear_model(), demonstrations, epochs=5, learning_rate=1e-12, seed=0)
    assert result.validation_losses == pytest.approx([np.log(2 * np.pi)] * 5)


@pytest.mark.parametrize(("batch_size", "patience"), [(75, 250), (5, 20)])  # 4 and 60 steps in an epoch
def test_patience_is_twenty_epochs_and_a_thousand_steps(batch_size: int, patience: int) -> None:
    demonstrations = linear_demonstrations(deviation=3.0)
    settings: dict[str, Any] = {"learning_rate": 0.02, "l2": 0.0, "validation_fraction": 0.25, "batch_size": batch_size}
    result = pretrain_bc(linear_model(), demonstrations, epochs=1000, **settings)
    assert len(result.validation_losses) == result.best_epoch + 1 + patience < 1000


@pytest.mark.parametrize("backend", ["torch", "imitation"])
@pytest.mark.parametrize("algorithm", [A2C, PPO, TRPO])
def test_critic_and_optimiser_stay_as_they_were(algorithm: Any, backend: str) -> None:
    if backend == "imitation":
        pytest.importorskip("imitation")
    model = algorithm("MlpPolicy", linear_env())
    before, training = weights(model), model.policy.training
    pretrain_bc(model, linear_demonstrations(), epochs=3, l2=0.1, backend=backend)
    assert changed(model, before) == {name for name in before if "value" not in name}
    assert not model.policy.optimizer.state
    assert model.policy.training == training


def test_l2_shrinks_the_weights_and_leaves_the_deviation() -> None:
    shrunk, free = linear_model(), linear_model()
    for model, l2 in ((shrunk, 10.0), (free, 0.0)):
        pretrain_bc(model, linear_demonstrations(), epochs=200, learning_rate=0.01, l2=l2, validation_fraction=0)
    assert shrunk.policy.action_net.weight.norm() < 0.1 * free.policy.action_net.weight.norm()
    transitions = linear_demonstrations().transitions()
    mean, _ = shrunk.predict(np.asarray(transitions.observations), deterministic=True)
    spread = np.sqrt(((np.asarray(transitions.actions) - mean) ** 2).mean(axis=0))
    np.testing.assert_allclose(shrunk.policy.log_std.detach().cpu(), np.log(spread), atol=0.05)


@pytest.mark.parametrize("validation_fraction", [0.0, 0.1])
def test_the_fitted_deviation_is_kept_above_a_share_of_the_range(validation_fraction: float) -> None:
    space = spaces.Box(np.array([-10.0, -4.0], np.float32), np.array([10.0, 4.0], np.float32))
    observations = np.zeros((401, 3), np.float32)
    demonstrations = Demonstrations.from_arrays(
        observations, np.zeros((400, 2), np.float32), lengths=[400], action_space=space
    )
    model = linear_model(venv=linear_env(space))
    settings: dict[str, Any] = {"epochs": 100, "learning_rate": 0.03, "l2": 0.0}
    pretrain_bc(model, demonstrations, validation_fraction=validation_fraction, **settings)
    np.testing.assert_allclose(model.policy.log_std.detach().cpu().exp(), [1.0, 0.4], rtol=1e-5)


def test_the_deviation_is_reset_where_it_is_asked() -> None:
    model = linear_model()
    pretrain_bc(model, linear_demonstrations(), epochs=2, log_std=-3.0)
    np.testing.assert_array_equal(model.policy.log_std.detach().cpu(), [-3.0, -3.0])


def test_vec_normalize_takes_the_demonstrations_statistics_and_holds_them() -> None:
    venv: Any = VecNormalize(linear_env(), norm_reward=False)
    model = TRPO("MlpPolicy", venv, n_steps=64, batch_size=64)
    demonstrations = linear_demonstrations()
    pretrain_bc(model, demonstrations, epochs=20)
    observations = np.asarray(demonstrations.transitions().observations).astype(np.float64)
    np.testing.assert_allclose(venv.obs_rms.mean, observations.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(venv.obs_rms.var, observations.var(axis=0), rtol=1e-9)
    before, _ = model.predict(venv.normalize_obs(observations), deterministic=True)
    model.set_env(venv)
    venv.reset()
    for _ in range(64):
        venv.step(np.zeros((1, 2)))  # their observations have mean 0 and deviation 1, not 3 and 2
    np.testing.assert_allclose(venv.obs_rms.mean, observations.mean(axis=0), rtol=1e-3)
    after, _ = model.predict(venv.normalize_obs(observations), deterministic=True)
    np.testing.assert_allclose(after, before, atol=1e-2)


def test_a_constant_observation_is_not_blown_up() -> None:
    demonstrations = linear_demonstrations()
    observations = np.array(demonstrations.whole.observations)
    observations[:, 1] = 7.0
    demonstrations = Demonstrations.from_arrays(
        observations, demonstrations.whole.actions, lengths=[400], action_space=WIDE
    )
    venv: Any = VecNormalize(linear_env())
    pretrain_bc(TRPO("MlpPolicy", venv), demonstrations, epochs=1)
    assert venv.normalize_obs(np.array([[3.0, 7.01, 3.0]]))[0, 1] == pytest.approx(0.01, abs=1e-4)


@pytest.mark.parametrize("frozen", [{"training": False}, {"norm_obs": False}])
def test_frozen_statistics_stay(frozen: dict[str, Any]) -> None:
    venv: Any = VecNormalize(linear_env(), **frozen)
    pretrain_bc(TRPO("MlpPolicy", venv), linear_demonstrations(), epochs=1)
    assert venv.training is frozen.get("training", True)
    if venv.norm_obs:
        np.testing.assert_array_equal(venv.obs_rms.mean, np.zeros(3))


def test_dict_statistics_and_transposed_images() -> None:
    venv: Any = VecNormalize(
        VecTransposeImage(DummyVecEnv([lambda: SpacesEnv(DICT, BOX)])), norm_obs_keys=["vector"], norm_reward=False
    )
    model = A2C("MultiInputPolicy", venv)
    demonstrations = random_demonstrations(DICT, BOX)
    pretrain_bc(model, demonstrations, epochs=1)
    vectors: Any = demonstrations.transitions().observations
    np.testing.assert_allclose(venv.obs_rms["vector"].mean, np.asarray(vectors["vector"]).mean(axis=0), atol=1e-6)
    assert set(venv.obs_rms) == {"vector"}


@pytest.mark.parametrize("backend", ["torch", "imitation"])
@pytest.mark.parametrize(
    ("policy", "observation_space", "action_space"),
    [
        ("MlpPolicy", spaces.Discrete(5), spaces.Discrete(4)),
        ("CnnPolicy", IMAGE, spaces.MultiDiscrete([2, 3])),
        ("MultiInputPolicy", DICT, spaces.MultiBinary(3)),
    ],
)
def test_other_spaces_are_learned(
    policy: str, observation_space: spaces.Space[Any], action_space: spaces.Space[Any], backend: str
) -> None:
    if backend == "imitation":
        pytest.importorskip("imitation")
    model = A2C(policy, DummyVecEnv([lambda: SpacesEnv(observation_space, action_space)]), seed=0)
    demonstrations = random_demonstrations(observation_space, action_space)
    before = log_prob(model, demonstrations.transitions()).mean()
    result = pretrain_bc(model, demonstrations, epochs=5, validation_fraction=0, backend=backend)
    assert result == BCResult(result.training_losses, (), 4)
    assert log_prob(model, demonstrations.transitions()).mean() > before


def test_maskable_ppo() -> None:
    model = MaskablePPO("MlpPolicy", SpacesEnv(VECTOR, spaces.Discrete(4)), seed=0)
    demonstrations = random_demonstrations(VECTOR, spaces.Discrete(4))
    result = pretrain_bc(model, demonstrations, epochs=50, validation_fraction=0)
    assert result.training_losses[-1] < result.training_losses[0]


@pytest.mark.parametrize("algorithm", [SAC, TD3])
def test_off_policy_actors_on_the_environments_scale(algorithm: Any) -> None:
    """The actions' bounds are far from [-1, 1] and not symmetric."""
    space = spaces.Box(np.array([-1.0, 10.0], np.float32), np.array([5.0, 40.0], np.float32))
    generator = np.random.default_rng(0)
    observations = generator.normal(size=(401, 3)).astype(np.float32)
    targets = np.tanh(observations[:-1] @ GAIN / 4)
    actions = (targets * [3.0, 15.0] + [2.0, 25.0]).astype(np.float32)
    demonstrations = Demonstrations.from_arrays(observations, actions, lengths=[400], action_space=space)
    model = linear_model(algorithm, linear_env(space))
    before = weights(model)
    result = pretrain_bc(model, demonstrations, epochs=300, learning_rate=0.03, l2=0.0)
    chosen, _ = model.predict(observations[:-1], deterministic=True)
    assert np.abs(chosen - actions).mean() < 0.3
    assert result.validation_losses[result.best_epoch] < result.validation_losses[0]
    assert not {name for name in changed(model, before) if name.startswith("critic")}
    assert not model.actor.optimizer.state
    if algorithm is TD3:
        for name, value in model.actor.state_dict().items():
            torch.testing.assert_close(model.actor_target.state_dict()[name], value)


def test_actions_at_the_bounds_have_a_finite_likelihood() -> None:
    demonstrations = linear_demonstrations(spaces.Box(-1.0, 1.0, (2,), np.float32))
    assert (np.abs(np.asarray(demonstrations.transitions().actions)) == 1).any()
    model = linear_model(SAC, linear_env(spaces.Box(-1.0, 1.0, (2,), np.float32)))
    result = pretrain_bc(model, demonstrations, epochs=5)
    assert np.isfinite(result.training_losses).all()


def test_a_cloned_model_is_saved_and_trained_on(tmp_path: Path) -> None:
    venv = make_vec_env("CartPole-v1", 2, seed=0)
    model = PPO("MlpPolicy", venv, n_steps=32, batch_size=32, seed=0)
    demonstrations = Demonstrations.from_agent(model, venv, 3)
    pretrain_bc(model, demonstrations, epochs=3)
    model.save(tmp_path / "cloned.zip")
    loaded = PPO.load(tmp_path / "cloned.zip", env=venv)
    expected = log_prob(model, demonstrations.transitions())
    np.testing.assert_array_equal(log_prob(loaded, demonstrations.transitions()), expected)
    loaded.learn(64)
    assert loaded.num_timesteps == 64


def test_the_seed_decides() -> None:
    def losses(seed: int | None, model_seed: int = 0) -> tuple[float, ...]:
        model = TRPO("MlpPolicy", linear_env(), seed=0)
        model.seed = model_seed
        return pretrain_bc(model, linear_demonstrations(), epochs=2, seed=seed).training_losses

    assert losses(1) == losses(1) != losses(2)
    assert losses(None, model_seed=1) == losses(1)


def test_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    pretrain_bc(linear_model(), linear_demonstrations(), epochs=2, progress_bar=True)
    assert "behavioural cloning" in capsys.readouterr().err
    pretrain_bc(linear_model(), linear_demonstrations(), epochs=2)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be a positive whole number, got 0"),
        ({"batch_size": 0.5}, "batch_size must be a positive whole number, got 0.5"),
        ({"patience": 0}, "patience must be a positive whole number"),
        ({"learning_rate": 0}, "learning_rate must be a positive number"),
        ({"l2": -1}, "l2 must be a finite number of at least 0"),
        ({"validation_fraction": 1}, r"validation_fraction must lie in \[0, 1\)"),
        ({"backend": "tensorflow"}, "backend must be one of 'torch', 'imitation', got 'tensorflow'"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    model = linear_model()
    before = weights(model)
    with pytest.raises(ValueError, match=message):
        pretrain_bc(model, linear_demonstrations(), **settings)
    assert not changed(model, before)


def test_log_std_is_refused_where_there_is_none() -> None:
    demonstrations = random_demonstrations(VECTOR, spaces.Discrete(2))
    with pytest.raises(ValueError, match="log_std can be set where it is a parameter of its own"):
        pretrain_bc(PPO("MlpPolicy", SpacesEnv(VECTOR, spaces.Discrete(2))), demonstrations, log_std=0.0)
    with pytest.raises(ValueError, match="log_std can be set"):
        pretrain_bc(linear_model(SAC), linear_demonstrations(), log_std=0.0)


def test_demonstrations_of_another_environment_are_refused() -> None:
    with pytest.raises(ValueError, match="observations"):
        pretrain_bc(linear_model(), random_demonstrations(spaces.Box(-1.0, 1.0, (4,), np.float32), WIDE))


def test_one_transition_cannot_be_split() -> None:
    demonstrations = linear_demonstrations(n=1)
    with pytest.raises(ValueError, match="give validation_fraction=0"):
        pretrain_bc(linear_model(), demonstrations)
    assert len(pretrain_bc(linear_model(), demonstrations, epochs=1, validation_fraction=0).training_losses) == 1


def test_unsupported_types() -> None:
    arrays: Any = {"observations": np.zeros((2, 3))}
    with pytest.raises(TypeError, match=r"demonstrations must be Demonstrations, .* got dict"):
        pretrain_bc(linear_model(), arrays)
    with pytest.raises(TypeError, match=r"model must be an SB3 .* got ActorCriticPolicy"):
        pretrain_bc(linear_model().policy, linear_demonstrations())


def test_unsupported_policies() -> None:
    discrete = random_demonstrations(VECTOR, spaces.Discrete(2))
    with pytest.raises(TypeError, match="recurrent"):
        pretrain_bc(RecurrentPPO("MlpLstmPolicy", SpacesEnv(VECTOR, spaces.Discrete(2))), discrete)
    with pytest.raises(TypeError, match="no actor"):
        pretrain_bc(DQN("MlpPolicy", SpacesEnv(VECTOR, spaces.Discrete(2)), buffer_size=9), discrete)


def test_imitations_backend_needs_an_on_policy_learner() -> None:
    pytest.importorskip("imitation")
    with pytest.raises(TypeError, match="use backend='torch'"):
        pretrain_bc(linear_model(SAC), linear_demonstrations(), backend="imitation")


def test_a_missing_imitation_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "imitation.algorithms.bc", None)
    with pytest.raises(ImportError, match=r"sb3-gail\[imitation\]"):
        pretrain_bc(linear_model(), linear_demonstrations(), backend="imitation")


def test_hopper_is_cloned() -> None:
    pytest.importorskip("mujoco")
    path = Path(__file__).parents[2] / "shared" / "demos" / "Hopper-v5.npz"
    if not path.exists():
        pytest.skip("needs the shared demonstrations")
    demonstrations = Demonstrations.load(path)
    venv: Any = VecNormalize(make_vec_env("Hopper-v5", 1, seed=0), norm_reward=False)
    result = pretrain_bc(TRPO("MlpPolicy", venv, seed=0), demonstrations, epochs=3)
    assert result.validation_losses[-1] < result.validation_losses[0]
    assert venv.obs_rms.count == bc.STATISTICS_COUNT
