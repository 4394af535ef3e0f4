"""Returns and scores as a table."""

from __future__ import annotations

import numpy as np
from rich.table import Table

from sb3_gail.tables import returns_table


def cells(table: Table) -> list[list[str]]:
    """What is in it, row by row."""
    return [list(row) for row in zip(*(map(str, column.cells) for column in table.columns), strict=True)]


def test_scores_are_0_at_random_and_1_at_the_experts_return() -> None:
    table = returns_table(
        "a task",
        random=np.array([0.0, 20.0]),
        demonstrations=np.array([130.0]),  # the better part of a file whose mean return is 110
        policies={"BC alone": np.array([60.0, 60.0, 60.0]), "GAIL": np.array([120.0])},
        expert_return=110.0,
    )
    assert cells(table) == [
        ["random actions", "10.0 ± 10.0", "0.000", "2"],
        ["demonstrations", "130.0 ± 0.0", "1.200", "1"],
        ["BC alone", "60.0 ± 0.0", "0.500", "3"],
        ["GAIL", "120.0 ± 0.0", "1.100", "1"],
    ]


def test_no_scores_without_rewards_in_the_demonstrations() -> None:
    table = returns_table(
        "a task",
        random=np.array([10.0]),
        demonstrations=None,
        policies={"agent": np.array([60.0])},
        expert_return=None,
    )
    assert cells(table) == [["random actions", "10.0 ± 0.0", "-", "1"], ["agent", "60.0 ± 0.0", "-", "1"]]
