"""Learning curves as pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sb3_gail.files import replacing
from sb3_gail.runs.folder import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_runs(paths: Sequence[str | Path], png: str | Path) -> Path:
    """Draws learning curves of runs that imitate: a panel for each environment, a line for each choice of settings.

    Runs that differ in nothing but their seed are one line, their mean, with each of them faintly behind it. The dashed
    line is the demonstrations' mean return, the dotted one that of random actions.

    Args:
        paths: The runs' folders.
        png: The picture to write.

    Raises:
        ImportError: If matplotlib is not installed.
        FileNotFoundError: If a folder holds no run.
        ValueError: If there are no runs, or one has not been evaluated yet.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'sb3-gail[cli]'") from error
    runs = [Run(path) for path in paths]
    if not runs:
        raise ValueError("expected the folder of at least one run, got none")
    for run in runs:
        if not run.curve():
            raise ValueError(f"expected runs that have been evaluated at least once while training, got {run.path}")
    tasks = _grouped(runs, lambda run: run.settings.env)
    figure = Figure(figsize=(6.4 * len(tasks), 4.2), layout="constrained")
    panels = figure.subplots(1, len(tasks), squeeze=False)[0]
    for panel, (env, of_env) in zip(panels, tasks.items(), strict=True):
        _draw(panel, env, of_env)
    with replacing(png) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
    return Path(png)


def _draw(panel: Axes, env: str, runs: list[Run]) -> None:
    for alike in _grouped(runs, _all_but_seed).values():
        curves = [{point.timesteps: point.mean_return for point in run.curve()} for run in alike]
        shared = sorted(set.intersection(*map(set, curves)))
        label = alike[0].path.resolve().name + (f" and {len(alike) - 1} more: mean" if len(alike) > 1 else "")
        (line,) = panel.plot(
            shared, [np.mean([curve[timesteps] for curve in curves]) for timesteps in shared], label=label
        )
        for curve in curves if len(curves) > 1 else []:
            panel.plot(list(curve), list(curve.values()), color=line.get_color(), alpha=0.25, linewidth=1)
    for name, style in (("demonstrations", "--"), ("random", ":")):
        for level in sorted({level for run in runs if (level := run.baselines[name]) is not None}):
            panel.axhline(level, color="black", linestyle=style, linewidth=1, label=name)
    panel.set(title=env, xlabel="environment steps", ylabel="true return (mean of an evaluation)")
    panel.ticklabel_format(axis="x", style="sci", scilimits=(3, 3), useMathText=True)
    panel.legend(frameon=False, fontsize="small")


def _all_but_seed(run: Run) -> str:
    return repr(replace(run.settings, seed=0))


def _grouped(runs: list[Run], key: Callable[[Run], str]) -> dict[str, list[Run]]:
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        groups[key(run)].append(run)
    return groups
