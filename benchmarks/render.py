"""Writes the page and the figures of the paper's table from what `paper_table.py` left on disk.

    python benchmarks/render.py --results runs/paper_table --paper table3.csv

Results are kept in `docs/benchmarks/runs`, from which the page is made: without `--results` it is only written anew.

The paper's own values come from a CSV file with the columns `env`, `algorithm`, `trajectories`, `return_mean`,
`return_std` and `expert_mean`, one row a cell. Without it the page has ours alone. Cells that were not run say so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tyro
from main_path import each_and_median, first_held
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from paper_cells import (
    ALGORITHMS,
    DEFAULT_ALGORITHMS,
    TASKS,
    PaperValue,
    Result,
    cells,
    keep,
    load_paper,
    load_record,
    load_results,
)
from scipy import stats

from sb3_gail.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Cell = tuple[str, str, int]
"""Environment, algorithm, number of trajectories."""

SCORE, HELD = 0.95, 3
"""A curve has arrived at the first of so many evaluations in a row with at least this score."""

LOWEST_SHOWN = -0.3
"""Some of the paper's scores are under -1: figures leave them out below."""

RESAMPLES = 2000


@dataclass(frozen=True)
class Table:
    """All results, and the paper's.

    Attributes:
        results: What was run.
        paper: The paper's values, by cell; empty without its file.
    """

    results: Sequence[Result]
    paper: Mapping[Cell, PaperValue]

    @cached_property
    def by_cell(self) -> dict[Cell, list[Result]]:
        """The results of each cell that was run, by seed."""
        grouped: dict[Cell, list[Result]] = defaultdict(list)
        for result in sorted(self.results, key=lambda result: result.job.seed):
            grouped[result.job.env, result.job.algorithm, result.job.trajectories].append(result)
        return dict(grouped)

    @cached_property
    def algorithms(self) -> list[str]:
        """Those of the paper and the control, and whatever else was run."""
        run = {algorithm for _, algorithm, _ in self.by_cell}
        return [algorithm for algorithm in ALGORITHMS if algorithm in run or algorithm in DEFAULT_ALGORITHMS]

    def cells_of(self, env: str) -> list[Cell]:
        """The cells of an environment: those of the table, and whatever else was run, here or by the authors."""
        of_table = set(cells([env], self.algorithms, None))
        return sorted(
            of_table | {cell for cell in (*self.by_cell, *self.paper) if cell[0] == env},
            key=lambda cell: (self.algorithms.index(cell[1]), cell[2]),
        )

    def scores(self, cell: Cell, mode: str = "deterministic") -> list[float]:
        """Each seed's."""
        return [result.score(mode) for result in self.by_cell.get(cell, [])]

    def paper_score(self, cell: Cell) -> float | None:
        """With the paper's own expert, and random actions as measured here."""
        value = self.paper.get(cell)
        random = next((result.content["random"] for result in self.results if result.job.env == cell[0]), None)
        return None if value is None or random is None else value.score(random)


def iqm(*samples: npt.NDArray[np.float64], axis: int = -1) -> Any:
    """The interquartile mean of all samples together (Agarwal et al. 2021); of less than four numbers, their mean."""
    return stats.trim_mean(np.concatenate(samples, axis=axis), 0.25, axis=axis)


def interval(samples: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """95% bootstrap interval of `iqm`, seeds resampled within each sample; `None` if one has a single seed."""
    if min(map(len, samples)) < 2:
        return None
    bootstrapped = stats.bootstrap(
        [np.array(sample) for sample in samples],
        iqm,
        n_resamples=RESAMPLES,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    low, high = bootstrapped.confidence_interval
    return float(low), float(high)


def to_reach(algorithm: str, n_trajectories: int, env: str, paper: float | None) -> float | None:
    """The score that a cell is to reach; `None` if it is reported only."""
    if paper is None:
        return None
    if algorithm == "gail":
        return min(paper, 1.0) - 0.02
    promised = TASKS[env].is_classic or n_trajectories in (4, 25)
    return paper - 0.1 if promised and paper >= 0.2 else None


def reached(algorithm: str, scores: Sequence[float], target: float | None) -> str:
    """Whether a cell's seeds do reach it; no seed of GAIL's may be under 0.8."""
    if target is None:
        return "-"
    good = float(iqm(np.array(scores))) >= target and (algorithm != "gail" or min(scores) >= 0.8)
    return "yes" if good else "**no**"


def page(table: Table, commands: str, remark: str) -> str:
    """The page, with the commands that ran it, and a remark at the top if there is one."""
    expected = {cell for env in TASKS for cell in table.cells_of(env)}
    parts = [
        "# The paper's table",
        "<!-- Written by benchmarks/render.py: change that, or run more jobs, instead of this page. -->",
        f"{len(table.results)} jobs of {len(table.by_cell)} cells were run; the table has {len(expected)} cells, and "
        "what was not run says so.",
        *([f"**{remark}**"] if remark else []),
        _protocol(table),
        "![Score against number of trajectories](paper-table.png)",
        "Solid: here, with a 95% bootstrap interval over seeds. Dashed: the paper. "
        f"Scores under {LOWEST_SHOWN} are below the frame.",
        "## All environments together",
        "Interquartile mean of the scores of all seeds on all environments that were run with the fewest (to the most) "
        "trajectories and more than one seed, with its 95% interval by a bootstrap that resamples seeds within each "
        "environment; beside it that of the paper's values of the same cells.",
        markdown_table(
            ["algorithm", "trajectories", "IQM", "95%", "paper", "environments", "runs"], _summary_rows(table)
        ),
        *(part for env in TASKS for part in _environment(table, env)),
        f"## Steps and minutes to a score of {SCORE}",
        f"At the first of {HELD} evaluations in a row ({_points(table)} episodes, most likely actions) with at least "
        "that score: each seed, and the median. Minutes are wall-clock on the machine below, evaluations included, as "
        "many jobs side by side as it says there.",
        markdown_table(
            ["environment", "algorithm", "trajectories", "steps", "median", "minutes"], _arrival_rows(table)
        ),
        "## How it was run",
        *describe_machines(table.results),
        f"```bash\n{commands.strip()}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _protocol(table: Table) -> str:
    episodes = " or ".join(map(str, sorted({result.job.episodes for result in table.results}))) or "no"
    return (
        f"The policy at the end of training is evaluated, never a better one on the way: {episodes} episodes on "
        "held-out seeds, taking its most likely actions (the score and the return) and sampling them. A score of 0 is "
        "the mean return of random actions, 1 that of all demonstrations in the file, whatever part of them was used. "
        "Each seed draws other demonstrations from the file and subsamples them as in the paper. The settings are the "
        "library's defaults on every environment. The paper's scores are taken with the paper's own expert and our "
        "random actions; it ran 25 million steps a MuJoCo cell (75 million of Humanoid), one run each, and "
        "of Reacher, with seven runs for each of four entropy weights, the best weight is shown. Episodes of Acrobot "
        "and CartPole ended after 200 steps then, after 500 today. Seeds that fail are reported, not replaced."
    )


def _environment(table: Table, env: str) -> list[str]:
    task = TASKS[env]
    rows = [_row(table, cell) for cell in table.cells_of(env)]
    header = [
        "algorithm",
        "trajectories",
        "paper",
        "score",
        "95%",
        "seeds",
        "sampling",
        "return",
        "paper's return",
        "to reach",
        "reached",
    ]
    parts = [
        f"## {env}",
        f"One transition in {task.subsample} is kept, jobs have {_steps_run(table, env)} environment steps.",
        markdown_table(header, rows),
    ]
    if any(result.job.env == env and result.job.algorithm != "bc" for result in table.results):
        parts.append(f"![Learning curves on {env}](curves-{env}.png)")
    return parts


def _steps_run(table: Table, env: str) -> str:
    """Those of the jobs that learn by acting, as they were run, or are to be."""
    run = {result.job.timesteps for result in table.results if result.job.env == env and result.job.algorithm != "bc"}
    return " or ".join(f"{steps:,}" for steps in sorted(run or {TASKS[env].timesteps}))


def _row(table: Table, cell: Cell) -> list[str]:
    env, algorithm, n_trajectories = cell
    value, paper = table.paper.get(cell), table.paper_score(cell)
    papers = ["-" if paper is None else f"{paper:.2f}"]
    papers_return = "-" if value is None else f"{value.return_mean:.0f} ± {value.return_std:.0f}"
    target = to_reach(algorithm, n_trajectories, env, paper)
    targets = "-" if target is None else f"{target:.2f}"
    names = [ALGORITHMS[algorithm], str(n_trajectories)]
    scores = table.scores(cell)
    if not scores:
        return [*names, *papers, "not run", "-", "-", "-", "-", papers_return, targets, "-"]
    returns = [result.mean_return() for result in table.by_cell[cell]]
    return [
        *names,
        *papers,
        f"{float(iqm(np.array(scores))):.2f}",
        _interval(interval([scores])),
        ", ".join(f"{score:.2f}" for score in scores),
        f"{float(iqm(np.array(table.scores(cell, 'stochastic')))):.2f}",
        f"{np.mean(returns):.0f} ± {np.std(returns):.0f}",
        papers_return,
        targets,
        reached(algorithm, scores, target),
    ]


def _summary_rows(table: Table) -> Iterable[list[str]]:
    """By algorithm and the rank of the number of trajectories."""
    for algorithm in table.algorithms:
        for rank, name in enumerate(("fewest", "second", "third", "most")):
            ranked = [
                (env, algorithm, _ranked(TASKS[env].trajectories, rank))
                for env in TASKS
                if len(TASKS[env].trajectories) > 1 and algorithm not in TASKS[env].without
            ]
            run = [cell for cell in ranked if cell[2] and len(table.scores(cell)) > 1]  # one seed has no interval
            if not run:
                yield [ALGORITHMS[algorithm], name, "not run", "-", "-", "0", "0"]
                continue
            samples = [table.scores(cell) for cell in run]
            papers = [paper for cell in run if (paper := table.paper_score(cell)) is not None]
            yield [
                ALGORITHMS[algorithm],
                name,
                f"{float(iqm(np.concatenate(samples))):.2f}",
                _interval(interval(samples)),
                f"{float(iqm(np.array(papers))):.2f}" if len(papers) == len(run) else "-",
                str(len(run)),
                str(sum(map(len, samples))),
            ]


def _ranked(trajectories: Sequence[int], rank: int) -> int:
    """The fewest, second, third and most; 0 where there are only three and the third is the most."""
    if rank == 3:
        return trajectories[-1]
    return trajectories[rank] if rank < len(trajectories) - 1 else 0


def _arrival_rows(table: Table) -> Iterable[list[str]]:
    for (env, algorithm, n_trajectories), results in table.by_cell.items():
        if algorithm == "bc":
            continue
        steps = [first_held(result.curve, SCORE, HELD) for result in results]
        seconds = [None if at is None else result.seconds_at(at) for result, at in zip(results, steps, strict=True)]
        yield [
            env,
            ALGORITHMS[algorithm],
            str(n_trajectories),
            *each_and_median(steps),
            ", ".join("-" if second is None else f"{second / 60:.1f}" for second in seconds),
        ]


def _points(table: Table) -> str:
    """Episodes of an evaluation in the curves."""
    numbers = {result.content["episodes_of_a_point"] for result in table.results if result.job.algorithm != "bc"}
    return " or ".join(map(str, sorted(numbers))) or "0"


def describe_machines(results: Iterable[Result]) -> list[str]:
    """What jobs ran on and with, a line for each machine and state of this repository."""
    machines = {
        (*result.content["machine"].items(), ("commit", result.content["commit"] or "unknown")) for result in results
    }
    return [", ".join(f"{name.replace('_', ' ')} {value}" for name, value in each) + "." for each in sorted(machines)]


def _interval(ends: tuple[float, float] | None) -> str:
    return "-" if ends is None else f"{ends[0]:.2f} to {ends[1]:.2f}"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of a page."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def draw_scores(table: Table, png: Path) -> None:
    """Score against number of trajectories: the paper's Figure 1."""
    envs = [env for env in TASKS if len(TASKS[env].trajectories) > 1]
    figure = Figure(figsize=(16, 8), layout="constrained")
    panels = figure.subplots(2, -(-len(envs) // 2), squeeze=False).ravel()
    for panel, env in zip(panels, envs, strict=False):
        for color, algorithm in enumerate(table.algorithms):
            _draw_algorithm(panel, table, env, algorithm, f"C{color}")
        panel.set(title=env, xlabel="trajectories", ylabel="score", xticks=TASKS[env].trajectories)
        panel.set_ylim(LOWEST_SHOWN, 1.2)
        for level in (0, 1):
            panel.axhline(level, color="black", linewidth=0.5)
    figure.legend(*_lines_of(panels), loc="outside lower center", ncols=5, frameon=False)
    _save(figure, png)


def _lines_of(panels: Iterable[Axes]) -> tuple[list[Artist], list[str]]:
    """One line of each label that is in any panel, and the labels."""
    lines = {label: line for panel in panels for line, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    return list(lines.values()), list(lines)


def _draw_algorithm(panel: Axes, table: Table, env: str, algorithm: str, color: str) -> None:
    sizes = [n for of_env, of_algorithm, n in table.cells_of(env) if (of_env, of_algorithm) == (env, algorithm)]
    run = [n for n in sizes if table.scores((env, algorithm, n))]
    if run:
        scores = [table.scores((env, algorithm, n)) for n in run]
        means = [float(iqm(np.array(each))) for each in scores]
        ends = [interval([each]) or (mean, mean) for each, mean in zip(scores, means, strict=True)]
        errors = np.array([[mean - low, high - mean] for mean, (low, high) in zip(means, ends, strict=True)]).T
        panel.errorbar(run, means, errors.clip(0), color=color, marker="o", capsize=3, label=ALGORITHMS[algorithm])
    papers = [(n, paper) for n in sizes if (paper := table.paper_score((env, algorithm, n))) is not None]
    if papers:
        label = f"{ALGORITHMS[algorithm]}, paper"
        panel.plot(*zip(*papers, strict=True), color=color, linestyle="--", marker="x", alpha=0.6, label=label)


def draw_curves(table: Table, env: str, png: Path) -> None:
    """Learning curves: each seed's, and their mean, with the expert's and the random return."""
    results = [result for result in table.results if result.job.env == env and result.job.algorithm != "bc"]
    sizes = sorted({result.job.trajectories for result in results})
    figure = Figure(figsize=(5 * len(sizes), 4), layout="constrained")
    panels = figure.subplots(1, len(sizes), squeeze=False, sharey=True)[0]
    for panel, n_trajectories in zip(panels, sizes, strict=True):
        for color, algorithm in enumerate(table.algorithms):
            runs = table.by_cell.get((env, algorithm, n_trajectories), []) if algorithm != "bc" else []
            curves = [{point.timesteps: point.mean_return for point in result.curve} for result in runs]
            if not curves:
                continue
            shared = sorted(set.intersection(*map(set, curves)))
            means = [np.mean([curve[at] for curve in curves]) for at in shared]
            panel.plot(shared, means, color=f"C{color}", label=ALGORITHMS[algorithm])
            for curve in curves:
                panel.plot(list(curve), list(curve.values()), color=f"C{color}", alpha=0.25, linewidth=0.8)
        panel.axhline(results[0].content["demonstrations"], color="black", linestyle="--", linewidth=1, label="expert")
        panel.axhline(results[0].content["random"], color="black", linestyle=":", linewidth=1, label="random")
        panel.set(title=f"{env}, {n_trajectories} trajectories", xlabel="environment steps")
    panels[0].set_ylabel("true return")
    figure.legend(*_lines_of(panels), loc="outside lower center", ncols=7, frameon=False, fontsize="small")
    _save(figure, png)


def _save(figure: Figure, png: Path) -> None:
    with replacing(png) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def main(
    results: Path | None = None,
    paper: Path | None = None,
    output: Path = Path("docs/benchmarks"),
    remark: str = "",
) -> None:
    """Adds what was run to the record, in `runs` beside the page, and writes the page and its figures from that.

    Args:
        results: The folder of `paper_table.py` with what is to be added, or to replace what is there of the same jobs;
            by default nothing.
        paper: The CSV file of the paper's values.
        output: The folder to write.
        remark: What a reader must know of these results, such as which were run with earlier defaults.
    """
    record = output / "runs"
    if results is not None:
        _keep_all(results, record)
    table = Table(load_record(record), {} if paper is None else load_paper(paper))
    draw_scores(table, output / "paper-table.png")
    for env in sorted({result.job.env for result in table.results if result.job.algorithm != "bc"}):
        draw_curves(table, env, output / f"curves-{env}.png")
    with replacing(output / "paper-table.md") as temporary:
        temporary.write_text(page(table, _commands(record), remark), encoding="utf-8")
    print(output / "paper-table.md")


def _keep_all(results: Path, record: Path) -> None:
    record.mkdir(parents=True, exist_ok=True)
    for result in load_results(results):
        if result.job.variant == "defaults":
            keep(result, record)
    known = _commands(record).splitlines()
    new = [line for line in _commands(results).splitlines() if line not in known]
    (record / "commands.txt").write_text("".join(f"{line}\n" for line in [*known, *new]), encoding="utf-8")


def _commands(folder: Path) -> str:
    file = folder / "commands.txt"
    return file.read_text(encoding="utf-8") if file.is_file() else ""


if __name__ == "__main__":
    tyro.cli(main)
