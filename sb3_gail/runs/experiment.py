"""What a run trains, made from its settings: environments, demonstrations, adversary and learner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from sb3_gail.callbacks import GAILCallback, MinimumStdCallback, TargetKLCallback
from sb3_gail.checkpoint import load_checkpoint
from sb3_gail.data import shipped
from sb3_gail.demonstrations import Demonstrations
from sb3_gail.evaluation import random_evaluation
from sb3_gail.runs.learners import (
    ON_POLICY,
    ROLLOUT,
    choose_n_envs,
    choose_vec_env,
    exploring_share,
    falling_target_kl,
    imitating_policy,
    is_normalised,
    learner_class,
    learner_settings,
    make_learner,
    make_venv,
    rollout_length,
    rollout_settings,
)
from sb3_gail.runs.named_adversaries import (
    adversary_settings,
    choose_causal_entropy,
    choose_pretrain,
    make_adversary,
)
from sb3_gail.runs.settings import ExpertSettings, RunSettings, TrainSettings
from sb3_gail.wrappers import GAILRewardVecWrapper

_Settings = TypeVar("_Settings", bound=RunSettings)


def read_demonstrations(path: Path) -> Demonstrations:
    """All demonstrations in a file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"expected a file of demonstrations, got {str(path)!r}; give the path of one, such as `sb3-gail record` "
            f"writes"
        )
    return Demonstrations.load(path)


def load_demonstrations(settings: TrainSettings) -> Demonstrations:
    """The demonstrations that a run uses: the part, the subsample and the control that its settings say.

    Raises:
        OSError: If their file cannot be read.
        ValueError: If none ship for the environment, the file holds something else, or fewer than `trajectories`.
    """
    demonstrations = read_demonstrations(settings.demonstrations or shipped(settings.env))
    if settings.trajectories is not None:
        if settings.trajectories > demonstrations.n_episodes:
            raise ValueError(
                f"trajectories must be at most {demonstrations.n_episodes}, the episodes that there are, got "
                f"{settings.trajectories}"
            )
        demonstrations = demonstrations.take(settings.trajectories)
    if settings.subsample > 1:
        demonstrations = demonstrations.subsample(settings.subsample, seed=settings.seed)
    if settings.shuffle_demonstrations:
        demonstrations = demonstrations.shuffled(settings.seed)
    return demonstrations


def make_model(settings: TrainSettings) -> tuple[BaseAlgorithm, list[BaseCallback]]:
    """A fresh learner on an environment that pays a fresh adversary's reward, and the callbacks to imitate with."""
    experiment = Experiment(settings)
    return experiment.make(), [experiment.callback, *experiment.settling]


def make_plain_model(settings: RunSettings) -> BaseAlgorithm:
    """A fresh learner on the same environments with their own reward, whatever there is to imitate."""
    torch.set_num_threads(settings.threads)
    settings = resolve_settings(settings)
    return _make_model(settings, training_env(settings))


class Experiment:
    """What training needs, made from its settings.

    Args:
        settings: All there is to choose.

    Attributes:
        settings: The same, with what was chosen where they left it open.
        callback: GAIL's, with the adversary and the demonstrations.
        settling: Callbacks that let the learner come to rest at the expert, or go on exploring one who hardly moves.

    Raises:
        OSError: If the demonstrations cannot be read.
        ValueError: If the demonstrations do not fit the environment, or a setting is wrong.
    """

    def __init__(self, settings: TrainSettings) -> None:
        torch.set_num_threads(settings.threads)
        # Before the demonstrations: for an environment that does not exist, none are to be recorded.
        one = _one_copy(settings)
        demonstrations = load_demonstrations(settings)
        try:
            demonstrations.check_spaces(one.observation_space, one.action_space)
        except TypeError as error:  # which kind of space an id has is for whoever typed it a matter of its value
            raise ValueError(f"{settings.env}: {error}") from error
        demonstrations = _with_spaces_of(one, demonstrations)
        settings = _resolve(settings, one, episode_length=float(demonstrations.lengths.mean()))
        self.settings = settings = _fitting(settings, demonstrations)
        torch.manual_seed(settings.seed)
        adversary = make_adversary(settings.adversary, demonstrations, settings.discriminator, device=settings.device)
        self.callback = GAILCallback(
            adversary,
            demonstrations,
            replay_rollouts=settings.replay_rollouts,
            causal_entropy=settings.causal_entropy or 0.0,
        )
        self.settling = _settling(settings, demonstrations)
        self._venv = GAILRewardVecWrapper(training_env(settings), adversary)

    def make(self) -> BaseAlgorithm:
        """The learner at the start."""
        model = _make_model(self.settings, self._venv, imitating_policy(self.callback.demonstrations))
        # As the callback does when training starts; but what is wrong with it is to be known before there is a folder.
        self.callback.adversary.use_discount(model.gamma)  # type: ignore[attr-defined]  # all that imitate have it
        return model

    def load(self, checkpoint: Path) -> BaseAlgorithm:
        """The learner as it was."""
        venv = _normalised(self.settings, self._venv)
        return load_checkpoint(
            checkpoint, learner_class(self.settings.algorithm), venv, self.callback, device=self.settings.device
        )


def _fitting(settings: TrainSettings, demonstrations: Demonstrations) -> TrainSettings:
    """The settings, with what the demonstrations decide where they leave it open."""
    name, random_rate = settings.adversary, cache(partial(_random_termination_rate, settings))
    chosen = adversary_settings(name, demonstrations, settings.discriminator, random_termination_rate=random_rate)
    causal_entropy, pretrain = settings.causal_entropy, settings.pretrain
    if causal_entropy is None:
        causal_entropy = choose_causal_entropy(name, demonstrations, chosen)
    if pretrain is None:
        pretrain = choose_pretrain(name, demonstrations, chosen, random_termination_rate=random_rate)
    return replace(settings, discriminator=chosen, causal_entropy=causal_entropy, pretrain=pretrain)


def _with_spaces_of(venv: VecEnv, demonstrations: Demonstrations) -> Demonstrations:
    """The environment's, where the file says nothing of them: that they fit is known."""
    return replace(
        demonstrations,
        declared_observation_space=demonstrations.declared_observation_space or venv.observation_space,
        declared_action_space=demonstrations.declared_action_space or venv.action_space,
    )


def _settling(settings: TrainSettings, demonstrations: Demonstrations) -> list[BaseCallback]:
    """What lets TRPO come to rest at the expert, and any learner go on exploring one who hardly moves."""
    callbacks: list[BaseCallback] = []
    if settings.algorithm == "trpo":
        target_kl = learner_settings(settings.algorithm, settings.learner)["target_kl"]
        callbacks.append(TargetKLCallback(falling_target_kl(target_kl)))
    share = exploring_share(demonstrations)
    if share and not settings.learner.get("use_sde") and "policy_kwargs" not in settings.learner:
        callbacks.append(MinimumStdCallback(share))
    return callbacks


def _make_model(settings: RunSettings, venv: VecEnv, defaults: Mapping[str, Any] | None = None) -> BaseAlgorithm:
    chosen = {**(defaults or {}), **learner_settings(settings.algorithm, settings.learner)}
    venv = _normalised(settings, venv)
    return make_learner(settings.algorithm, venv, chosen, seed=settings.seed, device=settings.device)


def _normalised(settings: RunSettings, venv: VecEnv) -> VecEnv:
    """With observations normalised where that helps, and an expert's rewards, whose scale is the environment's."""
    if settings.algorithm not in ON_POLICY or not is_normalised(venv.observation_space):
        return venv
    return VecNormalize(venv, norm_reward=isinstance(settings, ExpertSettings))


def resolve_settings(settings: _Settings) -> _Settings:
    """With what the environment decides where nothing is said."""
    return _resolve(settings, _one_copy(settings))


def _resolve(settings: _Settings, one: VecEnv, *, episode_length: float | None = None) -> _Settings:
    if "n_steps" in settings.learner or rollout_length(settings.algorithm, one.observation_space) != ROLLOUT:
        episode_length = None  # which rollouts hold whole episodes is known of those alone
    n_envs = settings.n_envs or choose_n_envs(one.action_space, episode_length=episode_length)
    learner = {**rollout_settings(settings.algorithm, n_envs, one.observation_space), **settings.learner}
    return replace(settings, vec_env=choose_vec_env(settings.env, settings.vec_env), n_envs=n_envs, learner=learner)


def _one_copy(settings: RunSettings) -> VecEnv:
    """The environment, closed again: for its spaces."""
    venv = training_env(replace(settings, n_envs=1))
    venv.close()
    return venv


def training_env(settings: RunSettings) -> VecEnv:
    """The copies of the environment to train on, with its own reward; a single one where settings leave that open."""
    return make_venv(settings.env, n_envs=settings.n_envs or 1, seed=settings.seed, vec_env=settings.vec_env)


def evaluation_env(settings: RunSettings) -> VecEnv:
    """As many copies as there are episodes to play, but no more than there are to train on."""
    return training_env(replace(settings, n_envs=min(settings.n_envs or 1, settings.n_eval_episodes)))


def _random_termination_rate(settings: TrainSettings) -> float:
    return random_evaluation(evaluation_env(settings), n_episodes=20).termination_rate
