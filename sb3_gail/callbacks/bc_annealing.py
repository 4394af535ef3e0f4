"""A behavioural-cloning term beside GAIL that fades away."""

from __future__ import annotations

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from sb3_gail.demonstrations import Demonstrations
from sb3_gail.likelihood import actor_parameters, cloning_loss, policy_batch, training_mode
from sb3_gail.raw_observations import raw_vec_env
from sb3_gail.schedules import Scheduled, check_scheduled, progress_remaining, value_at

NEGLIGIBLE = 1e-3
"""Below this weight no steps are taken."""


class BCAnnealingCallback(BaseCallback):
    """Pulls the policy towards the expert's actions after each of SB3's updates, more and more weakly.

    ```python
    callback = [GAILCallback(discriminator, demonstrations), BCAnnealingCallback(demonstrations, half_life=20_000)]
    ```

    Between an update and the next rollout it takes Adam steps on the negative log-likelihood of the expert's executed
    actions, on the actor's parameters alone and with an Adam of its own (after Jena et al. 2020, "Augmenting GAIL with
    BC for sample efficient imitation learning", where one loss mixes both). Adam's step does not depend on its loss's
    scale, so the weight multiplies the learning rate. Logs `bc/loss` and `bc/weight`.

    Args:
        demonstrations: The expert's.
        weight: At the start, or a schedule of it.
        half_life: Environment steps in which the weight halves, beside its schedule; `None` leaves it to that alone.
            The weight follows the model's `num_timesteps`, so that a resumed run goes on where it stopped.
        learning_rate: Adam's at weight 1.
        batch_size: Transitions of one Adam step.
        transitions_per_step: Environment steps for each Adam step; what is left over counts in the next update.
        verbose: As SB3's.

    Raises:
        ValueError: If a setting is out of range; at the start of training, if the demonstrations do not fit the
            environment.
        TypeError: For another type of demonstrations; at the start of training, for an off-policy learner or a
            recurrent policy.
    """

    def __init__(
        self,
        demonstrations: Demonstrations,
        *,
        weight: Scheduled = 1.0,
        half_life: int | None = 20_000,
        learning_rate: float = 3e-4,
        batch_size: int = 256,
        transitions_per_step: int = 256,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        if not isinstance(demonstrations, Demonstrations):
            raise TypeError(
                f"demonstrations must be Demonstrations, such as Demonstrations.load(path), got "
                f"{type(demonstrations).__name__}"
            )
        for name, number in (("batch_size", batch_size), ("transitions_per_step", transitions_per_step)):
            if not isinstance(number, int) or number < 1:
                raise ValueError(f"{name} must be a positive whole number, got {number!r}")
        if half_life is not None and half_life <= 0:
            raise ValueError(f"half_life must be a positive number of environment steps or None, got {half_life!r}")
        if not learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, got {learning_rate!r}")
        check_scheduled("weight", weight)
        self.demonstrations = demonstrations
        self.weight = weight
        self.half_life = half_life
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.transitions_per_step = transitions_per_step
        self._generator = np.random.default_rng()
        self._optimizer: torch.optim.Adam | None = None
        self._followed = 0
        self._steps_owed = 0.0

    def current_weight(self) -> float:
        """The weight at the model's present number of environment steps."""
        weight = value_at(self.weight, progress_remaining(self.model))
        return weight if self.half_life is None else weight * 0.5 ** (self.model.num_timesteps / self.half_life)

    def _init_callback(self) -> None:
        if not isinstance(self.model, OnPolicyAlgorithm):
            raise TypeError(
                f"BCAnnealingCallback needs an on-policy learner (A2C, PPO, TRPO, MaskablePPO), got "
                f"{type(self.model).__name__}"
            )
        parameters = actor_parameters(self.model.policy)
        raw = raw_vec_env(self.training_env)
        self.demonstrations.check_spaces(raw.observation_space, raw.action_space)
        self._generator = np.random.default_rng(self.model.seed)
        self._optimizer = torch.optim.Adam(parameters, lr=self.learning_rate)

    def _on_training_start(self) -> None:
        self._followed = self.model.num_timesteps

    def _on_rollout_start(self) -> None:
        """The previous rollout's update is over now, and the next one is collected with what is done here."""
        self._steps_owed += (self.model.num_timesteps - self._followed) / self.transitions_per_step
        self._followed = self.model.num_timesteps
        n_steps = int(self._steps_owed)
        self._steps_owed -= n_steps
        weight = self.current_weight()
        self.logger.record("bc/weight", weight)
        if n_steps > 0 and weight >= NEGLIGIBLE:
            self.logger.record("bc/loss", self._train(n_steps, weight))

    def _on_step(self) -> bool:
        return True

    def _train(self, n_steps: int, weight: float) -> float:
        """Takes Adam steps and returns the mean loss."""
        assert self._optimizer is not None  # for mypy: made in _init_callback
        policy, expert = self.model.policy, self.demonstrations.transitions()
        for group in self._optimizer.param_groups:
            group["lr"] = self.learning_rate * weight
        total = 0.0
        with training_mode(policy, True):
            for _ in range(n_steps):
                rows = expert[self._generator.integers(len(expert), size=self.batch_size)]
                loss = cloning_loss(policy, *policy_batch(self.model, rows.observations, rows.actions)).mean()
                self._optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                self._optimizer.step()
                total += loss.item()
        return total / n_steps
