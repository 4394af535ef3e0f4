"""One file that holds all of a run: policy, adversary, normalisation, replay and random states."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from sb3_gail.files import replacing, state_bytes
from sb3_gail.spaces import single_precision_space
from sb3_gail.transitions import Transitions

if TYPE_CHECKING:
    from sb3_gail.callbacks.gail import GAILCallback

Algorithm = TypeVar("Algorithm", bound=BaseAlgorithm)

_FORMAT = "sb3-gail checkpoint 1"


def save_checkpoint(path: str | Path, callback: GAILCallback) -> None:
    """Writes all of a run to one file, whole or not at all.

    ```python
    gail = GAILCallback(discriminator, demonstrations)
    model.learn(100_000, callback=gail)
    save_checkpoint("run.zip", gail)
    ```

    Between two `learn()` calls or at the start of a rollout it holds everything; during a rollout, what was collected
    of it is not saved. `callbacks.ImitationCheckpointCallback` saves while training.

    Args:
        path: The file.
        callback: The one given to `model.learn()`: it knows the model and the adversary.

    Raises:
        ValueError: If the callback has not been given to `learn()` yet.
        TypeError: If the adversary's state holds what could not be loaded again.
    """
    model: BaseAlgorithm | None = getattr(callback, "model", None)
    if model is None:
        raise ValueError(
            "expected a callback that was given to model.learn(), got one without a model: nothing to save"
        )
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        _write(archive, "model.zip", _bytes_of(model.save))
        archive.writestr("algorithm.txt", type(model).__name__)
        adversary = callback.adversary
        _write(archive, "adversary.pt", state_bytes(type(adversary).__name__, adversary.state_dict()))
        for name, state in (
            ("normalisation.pt", _normalisation(model.get_vec_normalize_env())),
            ("replay.pt", [_tensors(rollout.to_arrays()) for rollout in callback.replay]),
            ("random.pt", _random_state()),
        ):
            _write(archive, name, _bytes_of(partial(torch.save, state)))
        archive.comment = _FORMAT.encode()


def load_checkpoint(
    path: str | Path, algorithm: type[Algorithm], env: VecEnv | Any, callback: GAILCallback, **kwargs: Any
) -> Algorithm:
    """Takes over a run that `save_checkpoint` wrote; environment and callback are made as for a new one.

    ```python
    model = load_checkpoint("run.zip", TRPO, env, gail)
    model.learn(200_000, callback=gail, reset_num_timesteps=False)
    ```

    Environments begin new episodes, seeded by the number of steps: simulators cannot be saved.

    Args:
        path: The file.
        algorithm: The class of the model.
        env: The wrapped environment; a `VecNormalize` in it takes over the statistics.
        callback: Its adversary takes over the trained state, and it the replayed rollouts.
        **kwargs: For `algorithm.load`, such as `device`.

    Returns:
        The model, ready to `learn(..., reset_num_timesteps=False)`.

    Raises:
        TypeError: If `algorithm` is no class, or `callback` no `GAILCallback`.
        OSError: If the file cannot be read.
        ValueError: If it is no checkpoint, or one of another algorithm or adversary, or `env` has a `VecNormalize` and
            the run had none, or the other way round.
    """
    from sb3_gail.callbacks.gail import GAILCallback  # which imports this module's neighbours

    if not isinstance(callback, GAILCallback):
        raise TypeError(f"callback must be a GAILCallback, got {type(callback).__name__}")
    with _opened(path, algorithm) as archive:
        model = algorithm.load(io.BytesIO(archive.read("model.zip")), env=env, **kwargs)
        vec_normalize, moments = model.get_vec_normalize_env(), _read(archive, "normalisation.pt")
        _check_normalisation(vec_normalize, moments)
        callback.adversary.load_state_dict(_read(archive, "adversary.pt"))
        if vec_normalize is not None:
            _restore_normalisation(vec_normalize, moments)
        callback.replay.clear()
        for arrays in _read(archive, "replay.pt"):
            callback.replay.append(Transitions.from_arrays({name: rows.numpy() for name, rows in arrays.items()}))
        _begin_episodes(model)
        _restore_random_state(_read(archive, "random.pt"))
    return model


def load_checkpointed_model(path: str | Path, algorithm: type[Algorithm], env: VecEnv) -> Algorithm:
    """The model in a checkpoint alone, to play with it: on the CPU, and with the random states left as they are.

    Args:
        path: The file.
        algorithm: The class of the model.
        env: What to play in, without `VecNormalize`: it gets one with the run's statistics, if the run had one. Its
            observations may be in another precision than those that the run was trained on.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is no checkpoint, or one of another algorithm or other spaces.
    """
    with _opened(path, algorithm) as archive:
        moments = _read(archive, "normalisation.pt")
        if moments is not None:
            env = VecNormalize(env, training=False, norm_reward=False)
            _check_normalisation(env, moments)
            _restore_normalisation(env, moments)
        return load_in_any_precision(lambda: io.BytesIO(archive.read("model.zip")), algorithm, env)


def load_in_any_precision(
    source: Callable[[], str | Path | io.BufferedIOBase], algorithm: type[Algorithm], env: VecEnv
) -> Algorithm:
    """A model that SB3 saved, on an environment whose observations may be in another precision than it knows.

    SB3 compares dtypes too: EnvPool's environments are in single precision, Gymnasium's often in double.

    Args:
        source: Opens the file, or names it.
        algorithm: The class of the model.
        env: The environment.

    Raises:
        ValueError: If the environment has other spaces.
    """
    here, trained_on = env.observation_space, algorithm.load(source(), device="cpu").observation_space
    same = single_precision_space(here) == single_precision_space(trained_on)
    return algorithm.load(
        source(), env=env, device="cpu", custom_objects={"observation_space": here if same else trained_on}
    )


@contextmanager
def _opened(path: str | Path, algorithm: type[BaseAlgorithm]) -> Iterator[zipfile.ZipFile]:
    """A whole checkpoint of that algorithm."""
    if not isinstance(algorithm, type):
        raise TypeError(f"algorithm must be the class of the model, such as TRPO, got {algorithm!r}")
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"expected a checkpoint of sb3-gail, got a file that is not one or is cut short: {path}"
        ) from error
    with archive:
        if _is_inside_another(archive):
            raise ValueError(f"expected a whole checkpoint of sb3-gail, got a file that is cut short: {path}")
        if archive.comment != _FORMAT.encode():
            is_model = "_stable_baselines3_version" in archive.namelist()
            got = f"a model that SB3 saved, which {algorithm.__name__}.load reads" if is_model else "another"
            raise ValueError(f"expected a file of format {_FORMAT!r}, got {got}: {path}")
        broken = archive.testzip()
        if broken is not None:
            raise ValueError(f"expected a whole checkpoint, got a file whose {broken!r} was altered: {path}")
        saved = archive.read("algorithm.txt").decode()
        if saved != algorithm.__name__:
            raise ValueError(f"expected a checkpoint of {algorithm.__name__}, got one of {saved}: {path}")
        yield archive


def _is_inside_another(archive: zipfile.ZipFile) -> bool:
    """Whether an archive begins after its file does: of a checkpoint that is cut short, a whole part is found."""
    return min((entry.header_offset for entry in archive.infolist()), default=0) > 0


def _begin_episodes(model: BaseAlgorithm) -> None:
    """Resets the environment without `VecNormalize` learning from it.

    If `learn()` did that, its statistics would count first observations twice: they know those that followed the last
    step of the run that was saved.
    """
    env, vec_normalize = model.get_env(), model.get_vec_normalize_env()
    if env is None:
        return
    env.seed(model.num_timesteps)
    was_training = vec_normalize is not None and vec_normalize.training
    if vec_normalize is not None:
        vec_normalize.training = False
    model._last_obs = env.reset()  # type: ignore[assignment]
    model._last_episode_starts = np.ones(env.num_envs, dtype=bool)
    if vec_normalize is not None:
        vec_normalize.training = was_training


def _write(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    with archive.open(name, "w", force_zip64=True) as file:
        file.write(content)


def _read(archive: zipfile.ZipFile, name: str) -> Any:
    return torch.load(io.BytesIO(archive.read(name)), map_location="cpu", weights_only=True)


def _bytes_of(save: Any) -> bytes:
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()


def _tensors(arrays: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    return {name: torch.as_tensor(array) for name, array in arrays.items()}


def _moments(statistics: RunningMeanStd) -> dict[str, torch.Tensor]:
    return {name: torch.as_tensor(np.asarray(getattr(statistics, name))) for name in ("mean", "var", "count")}


def _statistics(vec_normalize: VecNormalize) -> dict[str, RunningMeanStd]:
    """All running statistics by name."""
    observations = getattr(vec_normalize, "obs_rms", {})
    if isinstance(observations, RunningMeanStd):
        observations = {"": observations}
    return {"returns": vec_normalize.ret_rms, **{f"observations.{key}": rms for key, rms in observations.items()}}


def _normalisation(vec_normalize: VecNormalize | None) -> dict[str, dict[str, torch.Tensor]] | None:
    if vec_normalize is None:
        return None
    return {name: _moments(statistics) for name, statistics in _statistics(vec_normalize).items()}


def _check_normalisation(vec_normalize: VecNormalize | None, state: Mapping[str, Any] | None) -> None:
    if (vec_normalize is None) != (state is None):
        has = {True: "no VecNormalize", False: "a VecNormalize"}
        raise ValueError(
            f"expected an environment like the checkpoint's, which had {has[state is None]}, got one with "
            f"{has[vec_normalize is None]}"
        )
    if vec_normalize is None or state is None:
        return
    ours = _statistics(vec_normalize).keys()
    if ours != state.keys():
        raise ValueError(
            f"expected a VecNormalize of what the checkpoint's normalised, {sorted(state)}, got one of {sorted(ours)}"
        )


def _restore_normalisation(vec_normalize: VecNormalize, state: Mapping[str, Any]) -> None:
    for name, statistics in _statistics(vec_normalize).items():
        moments = state[name]
        statistics.mean, statistics.var = moments["mean"].numpy().copy(), moments["var"].numpy().copy()
        statistics.count = float(moments["count"])


def _random_state() -> dict[str, Any]:
    numpy_state: Any = np.random.get_state(legacy=True)  # noqa: NPY002  # SB3 draws its minibatches from it
    name, keys, position, has_gauss, gauss = numpy_state
    return {
        "python": random.getstate(),
        "numpy": (name, torch.as_tensor(keys.astype(np.int64)), position, has_gauss, gauss),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if _cuda_is_used() else [],
    }


def _restore_random_state(state: Mapping[str, Any]) -> None:
    version, internal, gauss_next = state["python"]
    random.setstate((version, tuple(internal), gauss_next))
    name, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if _cuda_is_used():
        torch.cuda.set_rng_state_all(state["cuda"][: torch.cuda.device_count()])


def _cuda_is_used() -> bool:
    """What runs on the CPU alone is not to wake a GPU, which may be another's, or out of order."""
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]
