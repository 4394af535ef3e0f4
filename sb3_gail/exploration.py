"""What an agent samples from beside the global generators, for episodes that are played aside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy, deepcopy
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.distributions import StateDependentNoiseDistribution

from sb3_gail.transitions import Array


class Exploration:
    """Lends an agent other noise while it samples actions; what it had for training it finds as it was.

    Two things that `predict` samples from do not follow the global generators' seeds. gSDE's noise (Raffin et al. 2022,
    "Smooth exploration for robotic reinforcement learning") is a matrix for each copy of the environment, and only
    training draws new ones: here each episode begins with a new one, and where training draws one every
    `sde_sample_freq` steps, so it is here. DQN takes its random actions from its action space, which has a generator of
    its own: here it begins with a seed from NumPy's.

    Args:
        model: An SB3 algorithm or policy.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._space: Any = None
        self._noisy = _with_state_dependent_noise(getattr(model, "policy", model))
        self._noise: Any = copy(self._noisy.action_dist) if self._noisy is not None else None
        self._every = getattr(model, "sde_sample_freq", -1)
        self._steps = 0

    @contextmanager
    def lent(self, starts: Array) -> Iterator[None]:
        """For one call of `predict`, where episodes start in some copies, `[B]`."""
        if self._space is None:
            self._space = deepcopy(self._model.action_space)
            self._space.seed(int(np.random.randint(2**31)))  # noqa: NPY002
        kept_space, self._model.action_space = self._model.action_space, self._space
        try:
            with self._lent_noise(starts):
                yield
        finally:
            self._model.action_space = kept_space

    @contextmanager
    def _lent_noise(self, starts: Array) -> Iterator[None]:
        if self._noise is None:
            yield
            return
        again = self._every > 0 and self._steps % self._every == 0
        self._draw(np.ones_like(starts) if again else starts)
        self._steps += 1
        kept, self._noisy.action_dist = self._noisy.action_dist, self._noise
        try:
            yield
        finally:
            self._noisy.action_dist = kept

    def _draw(self, copies: Array) -> None:
        """New noise in some copies of the environment, `[B]`."""
        if not copies.any():
            return
        before = self._noise.exploration_matrices
        with torch.no_grad():
            self._noise.sample_weights(self._noisy.log_std, batch_size=len(copies))
            if not copies.all():
                others = torch.as_tensor(~copies)
                self._noise.exploration_matrices[others] = before[others]


def _with_state_dependent_noise(policy: Any) -> Any:
    """The module that has gSDE's distribution: the policy itself or its actor; `None` where there is none."""
    for module in (policy, getattr(policy, "actor", None)):
        if isinstance(getattr(module, "action_dist", None), StateDependentNoiseDistribution):
            return module
    return None
