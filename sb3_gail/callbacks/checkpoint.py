"""Saves all of a run while it trains."""

from __future__ import annotations

from itertools import dropwhile
from pathlib import Path

from stable_baselines3.common.callbacks import BaseCallback

from sb3_gail.callbacks.bc_annealing import BCAnnealingCallback
from sb3_gail.callbacks.critic_warmup import CriticWarmupCallback
from sb3_gail.callbacks.gail import GAILCallback
from sb3_gail.callbacks.minimum_std import MinimumStdCallback
from sb3_gail.callbacks.siblings import siblings
from sb3_gail.checkpoint import save_checkpoint


class ImitationCheckpointCallback(BaseCallback):
    """Writes one checkpoint file, again and again, that `load_checkpoint` resumes from.

    ```python
    gail = GAILCallback(discriminator, demonstrations)
    model.learn(300_000, callback=[gail, ImitationCheckpointCallback(gail, "run.zip", save_freq=50_000)])
    ```

    The file is replaced whole, between rollouts and at the end of training: a run that is killed leaves the last one.
    Callbacks that change the policy between rollouts come before it in the list; ours are refused after it.

    Args:
        gail: The callback that trains the adversary.
        path: The file.
        save_freq: Environment steps between two savings, at least.
        verbose: As SB3's.

    Raises:
        ValueError: If `save_freq` is not positive; at the start of training, if `gail` is not among its callbacks, or
            a `BCAnnealingCallback`, `CriticWarmupCallback` or `MinimumStdCallback` comes after this one.
    """

    def __init__(self, gail: GAILCallback, path: str | Path, *, save_freq: int, verbose: int = 0) -> None:
        super().__init__(verbose)
        if save_freq < 1:
            raise ValueError(f"save_freq must be a positive number of environment steps, got {save_freq}")
        self.gail = gail
        self.path = Path(path)
        self.save_freq = save_freq
        self._saved_at = 0

    def _on_training_start(self) -> None:
        if getattr(self.gail, "model", None) is not self.model:
            raise ValueError(
                "expected a GAILCallback that trains beside it, got another: give learn() both, [gail, this]"
            )
        self._check_order()
        self._saved_at = self.model.num_timesteps

    def _check_order(self) -> None:
        for later in dropwhile(lambda each: each is not self, siblings(self)):
            if isinstance(later, (BCAnnealingCallback, CriticWarmupCallback, MinimumStdCallback)):
                raise ValueError(
                    f"expected {type(later).__name__}, which changes the policy between rollouts, before "
                    f"ImitationCheckpointCallback, got it after: a checkpoint would hold the policy without its "
                    f"change; put ImitationCheckpointCallback last in the list"
                )

    def _on_rollout_start(self) -> None:
        if self.model.num_timesteps - self._saved_at >= self.save_freq:
            self._save()

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self._save()

    def _save(self) -> None:
        save_checkpoint(self.path, self.gail)
        self._saved_at = self.model.num_timesteps
        if self.verbose > 0:
            print(f"Saved the run at {self._saved_at} steps to {self.path}")
