"""The contract between an adversary and everything that trains a policy against it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import torch
from gymnasium import Space
from torch import Tensor

from sb3_gail.files import is_of_the_disk, replacing, state_bytes
from sb3_gail.transitions import Array, Transitions

if TYPE_CHECKING:
    from typing_extensions import Self


class Adversary(ABC):
    """Whatever tells policy transitions from expert transitions and rewards the policy for the difference.

    Attributes:
        identity: Names this adversary across processes: a pickled copy keeps it, a new adversary gets another.
        needs_log_prob: Whether `update` and `reward` read `Transitions.log_prob`. In `reward` it is `None` where a
            wrapper scores single steps, since no callback collects.
    """

    identity: str
    needs_log_prob: bool = False

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Gives the adversary its identity, whether or not a subclass calls `super().__init__()`."""
        adversary = super().__new__(cls)
        adversary.identity = uuid4().hex
        return adversary

    @abstractmethod
    def reward(self, transitions: Transitions) -> Tensor:
        """The learned reward, `[B]` float32, without a gradient."""

    @abstractmethod
    def update(
        self, policy: Transitions, expert: Transitions, *, progress_remaining: float
    ) -> Mapping[str, float | Array]:
        """One iteration on a whole rollout, and what replay adds, against all expert transitions.

        Args:
            policy: `[B]` transitions of the policy.
            expert: `[E]` transitions of the expert.
            progress_remaining: From 1 (start of training) to 0 (its end), as SB3's schedules take it.

        Returns:
            Metrics over the whole iteration; arrays are for histograms.
        """

    def check_spaces(self, observation_space: Space[Any], action_space: Space[Any]) -> None:  # noqa: B027
        """Raises a `ValueError` if transitions of such an environment do not fit; by default all do."""

    def use_discount(self, gamma: float) -> None:  # noqa: B027
        """Takes over the learner's discount, where the reward depends on it; `GAILCallback` tells it."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """All that training changes, in types that `torch.load(weights_only=True)` reads."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over a `state_dict`."""

    def save(self, path: str | Path) -> None:
        """Writes the state to a file, whole or not at all.

        Raises:
            TypeError: If `load` could not read it.
        """
        content = state_bytes(type(self).__name__, self.state_dict())
        with replacing(path) as temporary:
            temporary.write_bytes(content)

    def load(self, path: str | Path) -> None:
        """Takes over the state that `save` wrote.

        Raises:
            OSError: If the file cannot be opened.
            ValueError: If it is another file, another adversary's, or cut short.
        """
        with Path(path).open("rb") as file:
            try:
                state = torch.load(file, map_location="cpu", weights_only=True)
            except (RuntimeError, EOFError, UnpicklingError, ValueError, KeyError, OSError) as error:
                if is_of_the_disk(error):
                    raise
                raise ValueError(f"expected a whole file that save() wrote, got {str(path)!r}: {error}") from error
        try:
            self.load_state_dict(state)
        except (KeyError, TypeError, RuntimeError) as error:  # the last is torch's, of other shapes
            raise ValueError(f"expected the state of a {type(self).__name__} in {str(path)!r}: {error}") from error
