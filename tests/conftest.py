"""What all tests share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_run import SMALL

from sb3_gail.runs import Run, TrainSettings, train

# Forked workers cannot use the threads of the process that they come from.
torch.set_num_threads(1)


def pytest_configure(config: pytest.Config) -> None:
    """Warnings of other libraries about themselves; our own stay errors."""
    for warning in (
        "ignore:This process .* is multi-threaded, use of fork:DeprecationWarning",
        "ignore:.*to get variables from other wrappers is deprecated:UserWarning",
        "ignore:You are trying to run .* on the GPU:UserWarning",
    ):
        config.addinivalue_line("filterwarnings", warning)


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    """No test depends on those that ran before it."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  # which SB3 draws minibatches from


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run, for reading only."""
    return train(TrainSettings(**SMALL, run_dir=tmp_path_factory.mktemp("runs") / "finished"))
