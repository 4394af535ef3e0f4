"""Saves all of a run while it trains."""

from __future__ import annotations

from pathlib import Path

from stable_baselines3.common.callbacks import BaseCallback

from sb3_gail.callbacks.gail import GAILCallback
from sb3_gail.checkpoint import save_checkpoint


class ImitationCheckpointCallback(BaseCallback):
    """Writes one checkpoint file, again and again, that `load_checkpoint` resumes from.

    ```python
    gail = GAILCallback(discriminator, demonstrations)
    model.learn(300_000, callback=[gail, ImitationCheckpointCallback(gail, "run.zip", save_freq=50_000)])
    ```

    The file is replaced whole, between rollouts and at the end of training: a run that is killed leaves the last one.

    Args:
        gail: The callback that trains the adversary.
        path: The file.
        save_freq: Environment steps between two savings, at least.
        verbose: As SB3's.

    Raises:
        ValueError: If `save_freq` is not positive; at the start of training, if `gail` is not among its callbacks.
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
        self._saved_at = self.model.num_timesteps

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
