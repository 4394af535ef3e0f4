"""Logging to Weights & Biases."""

from __future__ import annotations

import dataclasses
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Figure, HParam, Image, KVWriter, Video, filter_excluded_keys

from sb3_gail.callbacks.gail import GAILCallback
from sb3_gail.transitions import Array

if TYPE_CHECKING:
    from wandb.sdk.wandb_run import Run

STEP = "global_step"
"""The metric that holds environment steps, under the name that W&B gives to those of TensorBoard."""


class WandbCallback(BaseCallback):
    """Puts everything that SB3's logger records on a W&B run, on the axis of environment steps.

    ```python
    gail = GAILCallback(discriminator, demonstrations)
    model.learn(300_000, callback=[gail, WandbCallback(gail, project="imitation")])
    ```

    Scalars become W&B scalars, arrays histograms (learned rewards and logits among them), and images, figures and
    videos media. The run's config holds the learner's settings, as W&B's own SB3 callback writes them, the adversary's
    and a summary of the demonstrations. When training ends, the model is logged as an artifact, with its `VecNormalize`
    and the adversary.

    An active `wandb.run` is used, and left open. Otherwise a run begins with each training and ends with it; training
    that goes on (`reset_num_timesteps=False`) resumes it. Offline, W&B cannot resume: to have several `learn()` in one
    run there, begin it with `wandb.init()`.

    Args:
        gail_callback: Whose adversary and demonstrations to describe, and which adversary to keep with the model.
        gradient_freq: Every how many backward passes to log histograms of the policy's gradients; 0 is never.
        save_model: Whether to log the final model as an artifact.
        verbose: As SB3's.
        **init_kwargs: For `wandb.init`, where no run is active: `project`, `name`, `tags`, ...

    Attributes:
        run: The W&B run, from the start of training on.

    Raises:
        ImportError: If W&B is not installed.
        TypeError: If `gail_callback` is not one.
        ValueError: If `gradient_freq` is negative; at the start of training, if W&B cannot begin a run.
    """

    # The run that a callback of this class began and has not finished: interrupted training leaves it so.
    _own_run: ClassVar[Run | None] = None

    def __init__(
        self,
        gail_callback: GAILCallback | None = None,
        *,
        gradient_freq: int = 0,
        save_model: bool = True,
        verbose: int = 0,
        **init_kwargs: Any,
    ) -> None:
        super().__init__(verbose)
        try:
            import wandb.sdk  # `import wandb` alone would be content with the folder of runs that W&B leaves behind
        except ImportError as error:
            raise ImportError("WandbCallback needs Weights & Biases: pip install 'sb3-gail[wandb]'") from error
        if gail_callback is not None and not isinstance(gail_callback, GAILCallback):
            raise TypeError(
                f"gail_callback must be a GAILCallback, got {type(gail_callback).__name__}; "
                'settings of the run are keywords, such as WandbCallback(gail, project="imitation")'
            )
        if gradient_freq < 0:
            raise ValueError(f"gradient_freq must be at least 0, got {gradient_freq}")
        self.gail_callback = gail_callback
        self.gradient_freq = gradient_freq
        self.save_model = save_model
        self.run: Run | None = None
        self._wandb = wandb
        self._init_kwargs = init_kwargs
        self._resume: dict[str, str] = {}

    def _init_callback(self) -> None:
        run = self._open_run()
        if run is not self.run:
            self.run = run
            self._describe(run)
        self._detach_writers()
        self.logger.output_formats.append(_WandbWriter(run))

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        run = self.run
        if run is None:
            return
        self._detach_writers()
        if self.save_model:
            self._log_model(run)
        if run is WandbCallback._own_run:
            _finish(run)
            WandbCallback._own_run = None

    def _open_run(self) -> Run:
        active = self._wandb.run
        if active is not None and active is not WandbCallback._own_run:
            return active
        goes_on = self.model.num_timesteps > 0
        if active is not None:
            if goes_on and active is self.run:
                return active
            _finish(active)
        try:
            run = self._wandb.init(**{**self._init_kwargs, **(self._resume if goes_on else {})})
        except self._wandb.Error as error:
            raise ValueError(
                f"W&B begins no run ({error}); if it asks for a key, run `wandb login`, or set WANDB_MODE=offline to "
                f"log to disk alone"
            ) from error
        self._resume = {"id": run.id, "resume": "allow"}
        WandbCallback._own_run = run
        return run

    def _describe(self, run: Run) -> None:
        from wandb.integration.sb3 import WandbCallback as LearnerCallback

        run.define_metric(STEP)
        run.define_metric("*", step_metric=STEP)
        LearnerCallback(gradient_save_freq=self.gradient_freq, log="gradients").init_callback(self.model)
        if self.gail_callback is not None:
            adversary = self.gail_callback.adversary
            config = {
                "adversary": {"class": type(adversary).__name__, "config": _plain(getattr(adversary, "config", None))},
                "demonstrations": self.gail_callback.demonstrations.summary(),
            }
            run.config.update(config, allow_val_change=True)  # type: ignore[no-untyped-call]

    def _detach_writers(self) -> None:
        """SB3 makes a new logger for each `learn()`, but one that the user has set keeps its formats."""
        formats = self.logger.output_formats
        formats[:] = [known for known in formats if not isinstance(known, _WandbWriter)]

    def _log_model(self, run: Run) -> None:
        artifact = self._wandb.Artifact(f"model-{run.id}", type="model", metadata={STEP: self.num_timesteps})
        normalise = self.model.get_vec_normalize_env()
        with tempfile.TemporaryDirectory() as folder:
            self.model.save(Path(folder, "model.zip"))
            if normalise is not None:
                normalise.save(str(Path(folder, "vecnormalize.pkl")))
            if self.gail_callback is not None:
                self.gail_callback.adversary.save(Path(folder, "adversary.pt"))
            artifact.add_dir(folder)  # copies the files
            run.log_artifact(artifact)


def _finish(run: Run) -> None:
    run.unwatch()  # else hooks on the policy would go on writing
    run.finish()


class _WandbWriter(KVWriter):
    """An output format of SB3's logger: one row of the run's history for each of its dumps."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._refused: set[str] = set()

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Writes a dump of the logger."""
        row: dict[str, Any] = {STEP: step}
        for key, value in filter_excluded_keys(key_values, key_excluded, "wandb").items():
            if value is None:
                continue
            if isinstance(value, str):
                self._run.summary[key] = value
            elif isinstance(value, HParam):
                self._run.config.update(dict(value.hparam_dict), allow_val_change=True)  # type: ignore[no-untyped-call]
            else:
                row[key] = self._convert(key, value)
        self._run.log({key: value for key, value in row.items() if value is not None})

    def close(self) -> None:
        """Leaves the run open, which the logger does not own."""

    def _convert(self, key: str, value: Any) -> Any:
        """What W&B draws for the value; `None`, which is said once, where it cannot."""
        import wandb

        try:
            if isinstance(value, (Image, Figure, Video)):
                return _media(value)
            array = _array(value)
            if array.dtype.kind not in "biuf":
                raise TypeError("it is neither a number nor an array of numbers")
            if array.size == 1:
                return array.item()
            finite = array[np.isfinite(array)]
            return wandb.Histogram(np_histogram=np.histogram(finite, bins=64)) if finite.size else None
        except (TypeError, ValueError, ImportError, wandb.Error) as error:
            if key not in self._refused:
                warnings.warn(f"W&B cannot log {key} ({type(value).__name__}): {error}", stacklevel=2)
            self._refused.add(key)
            return None


def _array(value: Any) -> Array:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        return np.asarray(value.float() if value.is_floating_point() else value)
    return np.asarray(value)


def _media(value: Image | Figure | Video) -> Any:
    import wandb

    if isinstance(value, Video):  # [N, T, C, H, W]
        return wandb.Video(_array(value.frames), fps=round(value.fps), format="gif")
    if isinstance(value, Figure):
        import matplotlib.pyplot as plt

        image = wandb.Image(value.figure)
        if value.close:
            plt.close(value.figure)
        return image
    if isinstance(value.image, str):
        return wandb.Image(value.image)
    axes = value.dataformats.upper()
    pixels = np.transpose(_array(value.image), [axes.index(axis) for axis in "NHWC" if axis in axes])
    return [wandb.Image(one) for one in pixels] if "N" in axes else wandb.Image(pixels)


def _plain(value: Any) -> Any:
    """The value in the types that W&B's config keeps: what else there is becomes its name or `repr`."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return getattr(value, "__qualname__", None) or repr(value)
