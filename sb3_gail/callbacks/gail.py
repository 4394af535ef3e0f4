"""The callback that trains an adversary inside `model.learn()`."""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from sb3_gail.adversaries.base import Adversary
from sb3_gail.callbacks.collection import Collection, find_collection, find_spec
from sb3_gail.callbacks.siblings import siblings
from sb3_gail.demonstrations import Demonstrations, check_demonstrations
from sb3_gail.likelihood import log_prob
from sb3_gail.schedules import Scheduled, check_scheduled, progress_remaining, value_at
from sb3_gail.task_evidence import evidence_of_another_task
from sb3_gail.transitions import Array, Transitions
from sb3_gail.wrappers.reward import check_adversary

TEXT_FORMATS = ("stdout", "log", "json", "csv")
"""SB3's logger formats that cannot show a histogram."""

_STEPS_TO_COMPARE = 200
"""As many of the policy's steps as `evidence_of_normalisation` needs."""


class GAILCallback(BaseCallback):
    """Trains an adversary between policy steps and rewards each rollout with it (Ho & Ermon 2016, Algorithm 1).

    ```python
    model.learn(300_000, callback=GAILCallback(discriminator, demonstrations))
    ```

    After each rollout the adversary is updated on it, the rollout is rewarded by the updated adversary, and advantages
    are recomputed; SB3 then takes the policy step as ever. Works with any on-policy learner (A2C, PPO, TRPO,
    MaskablePPO, RecurrentPPO) on an environment with a `GAILRewardWrapper` or `GAILRewardVecWrapper` that holds the
    same adversary.
    Everything is logged under `gail/`; `rollout/` keeps the true return.

    Args:
        adversary: The one that the reward wrapper holds.
        demonstrations: The expert's, in raw observations.
        replay_rollouts: How many past rollouts the adversary sees beside the new one. Its work grows with them, since a
            discriminator takes its steps by the number of transitions it is given.
        causal_entropy: Weight, or a schedule of it, of the policy's causal entropy, which imitation maximises beside
            its likeness to the expert (Ho & Ermon 2016, equations 15 and 18): so many times `-log pi(a|s)` is added to
            each reward. Where policy and expert have become alike the reward is nearly flat, and advantages that the
            learner normalises are noise that makes a policy ever surer of its actions; this keeps it from that. It is
            paid while an episode lasts, so leave it at 0 where each step is to cost, as with the reward `log_d`.
        verbose: As SB3's.

    Raises:
        TypeError: For another type of an argument; at the start of training for an off-policy learner, and for a
            policy without likelihoods if the adversary needs them.
        ValueError: For a `replay_rollouts` or `causal_entropy` out of range; at the start of training, if
            demonstrations do not fit the environment, the environment is not wrapped as it must be, or there is another
            `GAILCallback` beside this one.
    """

    def __init__(
        self,
        adversary: Adversary,
        demonstrations: Demonstrations,
        *,
        replay_rollouts: int = 0,
        causal_entropy: Scheduled = 0.0,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        check_adversary(adversary)
        check_demonstrations(demonstrations)
        if not isinstance(replay_rollouts, int):
            raise TypeError(f"replay_rollouts must be a whole number, got {replay_rollouts!r}")
        if replay_rollouts < 0:
            raise ValueError(f"replay_rollouts must be at least 0, got {replay_rollouts}")
        check_scheduled("causal_entropy", causal_entropy)
        self.adversary = adversary
        self.demonstrations = demonstrations
        self.causal_entropy = causal_entropy
        self.replay: deque[Transitions] = deque(maxlen=replay_rollouts)
        self._expert = demonstrations.transitions()
        self._collection: Collection
        self._return_statistics: _ReturnStatistics | None = None
        self._last_rollout_end = time.perf_counter()
        self._to_compare: list[Transitions] | None = []

    def _init_callback(self) -> None:
        if not isinstance(self.model, OnPolicyAlgorithm):
            raise TypeError(
                f"GAILCallback needs an on-policy learner (A2C, PPO, TRPO, MaskablePPO, RecurrentPPO), got "
                f"{type(self.model).__name__}"
            )
        self._collection = find_collection(self.training_env, self.adversary)
        self.demonstrations.check_spaces(*self._collection.spaces)
        self.adversary.check_spaces(*self._collection.spaces)
        self.adversary.use_discount(self.model.gamma)
        if self.adversary.needs_log_prob:
            self._check_likelihood()
        self._collection.send_state(self.adversary)  # what was loaded since, or learned when training was interrupted
        self._compare_tasks()
        vec_normalize = self.model.get_vec_normalize_env()
        pays_normalised = vec_normalize is not None and vec_normalize.norm_reward
        self._return_statistics = _ReturnStatistics(vec_normalize) if vec_normalize and pays_normalised else None

    def _on_training_start(self) -> None:
        if sum(isinstance(each, GAILCallback) for each in siblings(self)) > 1:
            raise ValueError("expected one GAILCallback, got several, each of which would pay for every rollout")
        self._last_rollout_end = time.perf_counter()

    def _on_rollout_start(self) -> None:
        if self._return_statistics is not None:
            self._return_statistics.keep()
        self._collection.start(self._learner.n_steps)

    def _on_step(self) -> bool:
        if self.locals["rewards"].any():
            raise ValueError(
                f"expected unscored steps to pay 0, got {self.locals['rewards']}: what lies outside the reward wrapper "
                f"ends episodes, repeats steps or changes rewards, or something else steps the environment; "
                f"put it inside"
            )
        if self._return_statistics is not None:
            self._return_statistics.undo_step()
        for info in self.locals["infos"]:
            if "env_episode" in info:
                info["episode"] = info["env_episode"]  # a Monitor outside counted the unscored zeros
        self._collection.step(self.locals["infos"])
        return True

    def _on_rollout_end(self) -> None:
        started = time.perf_counter()
        rollout = self._collection.transitions()
        self._compare_units(rollout)
        metrics = self._update_adversary(rollout)
        rewards = self._reward(rollout)
        surprisal = -self._learner.rollout_buffer.log_probs
        self._pay(rewards + value_at(self.causal_entropy, progress_remaining(self.model)) * surprisal)
        self._log({**metrics, "policy_entropy": float(surprisal.mean())}, rewards)
        ended = time.perf_counter()
        self.logger.record("gail/time_share", (ended - started) / (ended - self._last_rollout_end))
        self._last_rollout_end = ended

    def _on_training_end(self) -> None:
        self._collection.start(0)
        self._collection.send_state(self.adversary)

    @property
    def _learner(self) -> OnPolicyAlgorithm:
        model: OnPolicyAlgorithm = self.model  # type: ignore[assignment]  # checked in _init_callback
        return model

    def _update_adversary(self, rollout: Transitions) -> Mapping[str, float | Array]:
        policy = self._with_log_prob(Transitions.concatenate([*self.replay, rollout]))
        self.replay.append(rollout)
        expert = self._with_log_prob(self._expert)
        metrics: object = self.adversary.update(policy, expert, progress_remaining=progress_remaining(self.model))
        if not isinstance(metrics, Mapping):
            raise TypeError(f"an adversary's update must return a mapping of metrics, got {type(metrics).__name__}")
        return metrics

    def _reward(self, rollout: Transitions) -> Array:
        """The adversary's reward of each step of each environment, `[T, n_envs]`."""
        paid: object = self.adversary.reward(self._with_log_prob(rollout))
        if not isinstance(paid, torch.Tensor):
            raise TypeError(f"an adversary's reward must return a tensor, got {type(paid).__name__}")
        rewards = paid.detach().cpu().numpy()
        if rewards.shape != (len(rollout),):
            raise ValueError(f"an adversary's reward must be of shape {(len(rollout),)}, got {rewards.shape}")
        if not np.isfinite(rewards).all():
            raise ValueError(
                f"an adversary's reward must be finite, got {np.count_nonzero(~np.isfinite(rewards))} values of "
                f"{len(rewards)} that are not; lower its learning rate or bound the reward's function"
            )
        return rewards.reshape(self._learner.n_steps, -1)

    def _pay(self, rewards: Array) -> None:
        """Adds rewards `[T, n_envs]` to the buffer, and their part to its advantages.

        Unscored steps paid 0, so what the buffer holds is SB3's bootstrap of time limits, and its advantages are those
        of that alone. Advantages are linear in the rewards (Schulman et al. 2016, "High-dimensional continuous control
        using generalized advantage estimation", equation 16): so nobody has to know the value of the last observations,
        which sb3-contrib's learners do not show to callbacks.
        """
        buffer, dones = self._learner.rollout_buffer, self.locals["dones"]
        ends = np.vstack([buffer.episode_starts[1:], dones])
        if self._return_statistics is not None:
            rewards = self._return_statistics.normalise(rewards, ends)
        buffer.rewards += rewards
        advantage = np.zeros_like(rewards[0])
        for step in reversed(range(len(rewards))):
            advantage = rewards[step] + buffer.gamma * buffer.gae_lambda * (1 - ends[step]) * advantage
            buffer.advantages[step] += advantage
        buffer.returns = buffer.advantages + buffer.values

    def _with_log_prob(self, transitions: Transitions) -> Transitions:
        if not self.adversary.needs_log_prob:
            return transitions
        return replace(transitions, log_prob=log_prob(self._learner, transitions))

    def _log(self, metrics: dict[str, float | Array], rewards: Array) -> None:
        metrics |= {
            "reward_mean": float(rewards.mean()),
            "reward_std": float(rewards.std()),
            "rewards": rewards.ravel(),
        }
        for name, value in metrics.items():
            if isinstance(value, np.ndarray):
                self.logger.record(f"gail/{name}", torch.as_tensor(value), exclude=TEXT_FORMATS)
            else:
                self.logger.record(f"gail/{name}", value)

    def _check_likelihood(self) -> None:
        """Asks once, so that what has none is refused before anything is collected."""
        log_prob(self._learner, self._expert[:1])
        if isinstance(self._learner.policy, MaskableActorCriticPolicy):
            warnings.warn(
                f"{type(self.adversary).__name__} compares likelihoods, and those of {type(self._learner).__name__} "
                f"are taken without its action masks; GAIL's Discriminator needs no likelihoods",
                stacklevel=2,
            )

    def _compare_tasks(self) -> None:
        """Warns if the demonstrations look like those of another task."""
        spec = find_spec(self.training_env)
        if spec is None:
            return
        for evidence in evidence_of_another_task(self.demonstrations, spec):
            warnings.warn(evidence, stacklevel=2)

    def _compare_units(self, rollout: Transitions) -> None:
        """Warns, once there are steps enough, if the demonstrations look normalised and the environment does not."""
        if self._to_compare is None:
            return
        self._to_compare.append(rollout)
        if sum(map(len, self._to_compare)) < _STEPS_TO_COMPARE:
            return
        observations = Transitions.concatenate(self._to_compare).observations
        self._to_compare = None
        evidence = self.demonstrations.evidence_of_normalisation(observations)
        if evidence is not None:
            warnings.warn(evidence, stacklevel=2)


class _ReturnStatistics:
    """`VecNormalize`'s statistics of discounted returns, computed from the learned rewards.

    While a rollout is collected `VecNormalize` sees only the zeros of unscored steps. They are taken out of its
    statistics after each step, so that these are right whenever somebody saves them.
    """

    def __init__(self, vec_normalize: VecNormalize) -> None:
        self._vec_normalize = vec_normalize
        self._moments: tuple[Any, Any, float]
        self._returns: Array

    def keep(self) -> None:
        """Remembers the statistics that a rollout begins with."""
        statistics = self._vec_normalize.ret_rms
        self._moments = statistics.mean, statistics.var, statistics.count
        self._returns = self._vec_normalize.returns.copy()

    def undo_step(self) -> None:
        """Takes back what `VecNormalize` made of an unscored step."""
        statistics = self._vec_normalize.ret_rms
        statistics.mean, statistics.var, statistics.count = self._moments

    def normalise(self, rewards: Array, ends: Array) -> Array:
        """Updates the statistics with rewards `[T, n_envs]`, as `VecNormalize` does step by step, and divides by them.

        Args:
            rewards: The learned ones.
            ends: `[T, n_envs]`, nonzero where an episode ended with the step.
        """
        self._vec_normalize.returns = self._returns
        if self._vec_normalize.training:
            for step_rewards, step_ends in zip(rewards, ends, strict=True):
                self._vec_normalize._update_reward(step_rewards)
                self._vec_normalize.returns[step_ends.astype(bool)] = 0
        return self._vec_normalize.normalize_reward(rewards)
