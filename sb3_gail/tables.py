"""Returns and scores as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from rich.table import Table

from sb3_gail.evaluation import score

Returns = npt.NDArray[np.float64]


def returns_table(
    title: str,
    *,
    random: Returns,
    demonstrations: Returns | None,
    policies: Mapping[str, Returns],
    expert_return: float | None,
) -> Table:
    """A row each for random actions, the demonstrations and some policies.

    Args:
        title: What is above it.
        random: `[N]` returns of episodes of random actions, whose mean is a score of 0.
        demonstrations: `[N]` returns of the demonstrations' episodes.
        policies: `[N]` returns of each policy's episodes, by its name.
        expert_return: A score of 1: `Demonstrations.mean_return`, which of some episodes of a file is the whole file's.
            Without it, or where it is what random actions return, there are no scores.
    """
    table = Table(title=title, title_justify="left")
    table.add_column()
    for column in ("return", "score", "episodes"):
        table.add_column(column, justify="right")
    zero = float(np.mean(random))
    one = zero if expert_return is None else expert_return
    rows = {"random actions": random}
    if demonstrations is not None:
        rows["demonstrations"] = demonstrations
    for name, returns in (rows | dict(policies)).items():
        scored = "-" if one == zero else f"{score(returns.mean(), random_return=zero, expert_return=one):.3f}"
        table.add_row(name, f"{returns.mean():.1f} ± {returns.std():.1f}", scored, str(len(returns)))
    return table
