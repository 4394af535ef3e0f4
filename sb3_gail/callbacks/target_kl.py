"""A trust region that shrinks while a model learns."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from sb3_gail.schedules import Scheduled, check_scheduled, progress_remaining, value_at


class TargetKLCallback(BaseCallback):
    """Schedules a learner's `target_kl`, which neither TRPO nor PPO takes a schedule for.

    ```python
    callback = [GAILCallback(discriminator, demonstrations), TargetKLCallback(geometric(0.04, 0.002))]
    ```

    Policy and adversary chase each other: with large steps to the end, a policy that has reached the expert leaves it
    again now and then, and training stops wherever it happens to be. Large steps at the start and small ones at the end
    are fast and come to rest. Logs `train/target_kl`.

    Args:
        target_kl: In nats: the pair (start, end) of a linear schedule, or another one, such as `schedules.geometric`.
        verbose: As SB3's.

    Raises:
        ValueError: If a number is out of range; at the start of training, if the learner has no `target_kl`.
        TypeError: If it is no schedule.
    """

    def __init__(self, target_kl: Scheduled, *, verbose: int = 0) -> None:
        super().__init__(verbose)
        check_scheduled("target_kl", target_kl)
        self.target_kl = target_kl

    def _init_callback(self) -> None:
        if not hasattr(self.model, "target_kl"):
            raise ValueError(
                f"TargetKLCallback needs a learner with a target_kl (TRPO, PPO), got {type(self.model).__name__}"
            )

    def _on_rollout_end(self) -> None:
        learner: Any = self.model
        learner.target_kl = value_at(self.target_kl, progress_remaining(self.model))
        self.logger.record("train/target_kl", learner.target_kl)

    def _on_step(self) -> bool:
        return True
