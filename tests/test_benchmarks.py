"""The harness of the benchmarks, on jobs of a few seconds."""

from __future__ import annotations

import fcntl
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from sb3_gail import Demonstrations
from sb3_gail.data import shipped
from sb3_gail.runs import Run
from sb3_gail.runs.settings import TrainSettings, write_settings

for needed in ("tyro", "matplotlib", "scipy", "paper_cells"):
    pytest.importorskip(needed)

import ablations  # noqa: E402
import devices  # noqa: E402
import main_path  # noqa: E402
import paper_job  # noqa: E402
import paper_table  # noqa: E402
import record_experts  # noqa: E402
import render  # noqa: E402
import versus_imitation  # noqa: E402
from paper_cells import (  # noqa: E402
    TASKS,
    Job,
    PaperValue,
    Result,
    cells,
    load_paper,
    load_results,
    priority,
)
from variants import VARIANTS  # noqa: E402

SHARED = Path(__file__).parents[2] / "shared"
TABLE = Path(paper_table.__file__)


@pytest.fixture
def demonstrations(tmp_path: Path) -> Path:
    """A folder with a file for CartPole."""
    folder = tmp_path / "demonstrations"
    folder.mkdir()
    (folder / "CartPole-v1.npz").symlink_to(shipped("CartPole-v1"))
    return folder


def job(algorithm: str = "gail", *, seed: int = 0, trajectories: int = 4, timesteps: int = 2048) -> Job:
    return Job("CartPole-v1", algorithm, trajectories, seed, timesteps, str(shipped("CartPole-v1")), episodes=3)


class TestSelection:
    """Which jobs, and in which order."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for env in TASKS:
            (tmp_path / f"{env}.npz").touch()
        return tmp_path

    def test_every_cell_and_seed_is_a_job(self, folder: Path) -> None:
        jobs = paper_table.make_jobs(folder)
        assert len(jobs) == len(set(jobs)) == 3 * (5 * (3 * 4 + 4 * 4) + 3 * 3)

    def test_what_tells_most_comes_first(self, folder: Path) -> None:
        jobs = paper_table.make_jobs(folder, envs=tuple(TASKS))
        ranks = [priority(job) for job in jobs]
        assert ranks == sorted(ranks)
        first = {(job.env, job.algorithm, job.trajectories) for job in jobs[: ranks.index(1)]}
        mujoco = ("Hopper-v5", "HalfCheetah-v5", "Walker2d-v5", "Ant-v5")
        ends = {(env, n) for env in mujoco for n in (4, 25)} | {("Reacher-v5", 4), ("Reacher-v5", 18)}
        assert first == {(env, "gail", n) for env, n in ends}
        assert {(job.env, job.algorithm) for job in jobs if priority(job) == 1} == {("Ant-v5", "gail")}
        assert {job.env for job in jobs if priority(job) == 2} == {"CartPole-v1", "Acrobot-v1", "MountainCar-v0"}
        assert jobs[-1].env == "Humanoid-v5"
        assert [job.seed for job in paper_table.make_jobs(folder, order="table")][:2] == [0, 0]

    def test_only_what_is_selected_is_run(self, folder: Path) -> None:
        jobs = paper_table.make_jobs(
            folder, envs=["Ant-v5"], algorithms=["airl"], trajectories=[11], seeds=[5], timesteps=7
        )
        assert jobs == [Job("Ant-v5", "airl", 11, 5, 7, str(folder / "Ant-v5.npz"))]

    def test_budgets_are_the_tables(self, folder: Path) -> None:
        budgets = {job.env: job.timesteps for job in paper_table.make_jobs(folder)}
        assert budgets["Hopper-v5"] == 1_000_000
        assert budgets["Ant-v5"] == 2_000_000
        assert budgets["CartPole-v1"] == 150_000

    def test_what_there_is_not_is_refused(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"envs must be some of .*got 'Pong'"):
            paper_table.make_jobs(folder, envs=["Pong"])
        with pytest.raises(ValueError, match=r"algorithms must be some of .*got 'ppo'"):
            paper_table.make_jobs(folder, algorithms=["ppo"])
        with pytest.raises(
            ValueError, match=r"expected trajectories of the paper's table \(Reacher-v5 \(4, 11, 18\)\)"
        ):
            paper_table.make_jobs(folder, envs=["Reacher-v5"], algorithms=["fem"])
        with pytest.raises(ValueError, match=r"and an algorithm that it has there, got \[10\] and gail, fem"):
            paper_table.make_jobs(folder, envs=["Hopper-v5"], trajectories=[10])
        (folder / "Ant-v5.npz").unlink()
        with pytest.raises(FileNotFoundError, match=r"there is no .*Ant-v5\.npz: make it with record_experts"):
            paper_table.make_jobs(folder)

    def test_folder_of_another_job_is_refused(self, tmp_path: Path) -> None:
        folder = paper_table.prepare(job(), tmp_path)
        assert paper_table.prepare(job(), tmp_path) == folder
        with pytest.raises(ValueError, match=r"has another job, .*timesteps=2048.* than .*timesteps=10"):
            paper_table.prepare(job(timesteps=10), tmp_path)


class TestDemonstrations:
    """Which demonstrations a job draws."""

    def test_seed_draws_and_more_include_fewer(self, tmp_path: Path) -> None:
        drawn = {
            (n, seed): paper_job.draw_demonstrations(job(trajectories=n, seed=seed), tmp_path)[0]
            for n in (1, 4)
            for seed in (0, 1)
        }
        assert drawn[4, 0][:1] == drawn[1, 0]
        assert drawn[4, 0] != drawn[4, 1]

    def test_file_is_that_part_subsampled_with_the_whole_files_mean(self, tmp_path: Path) -> None:
        drawn, file = paper_job.draw_demonstrations(job(trajectories=4), tmp_path)
        whole, part = Demonstrations.load(shipped("CartPole-v1")), Demonstrations.load(file)
        np.testing.assert_array_equal(part.lengths, whole.lengths[drawn])
        for here, index in zip(part.episodes(), drawn, strict=True):
            np.testing.assert_array_equal(here.observations, list(whole.episodes())[index].observations)
        assert len(part) == pytest.approx(part.lengths.sum() / 10, abs=4)
        assert part.mean_return == whole.mean_return
        assert paper_job.draw_demonstrations(job(trajectories=4), tmp_path) == (drawn, file)

    def test_another_file_is_drawn_from_anew(self, tmp_path: Path) -> None:
        Demonstrations.load(shipped("CartPole-v1")).take(2).save(tmp_path / "other.npz")
        files = [
            paper_job.draw_demonstrations(each, tmp_path)[1]
            for each in (job(trajectories=1), replace(job(trajectories=1), demonstrations=str(tmp_path / "other.npz")))
        ]
        assert len(set(files)) == 2


def test_main_path_leaves_out_what_has_no_demonstrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def note(command: list[str], **settings: Any) -> None:
        ran.append(command[command.index("--env") + 1])

    monkeypatch.setattr(subprocess, "run", note)
    monkeypatch.setattr(main_path, "task_rows", lambda name, task, results: [(name, "to reach", "measured")])
    rows = main_path.learning_rows(tmp_path, None, 1)
    assert set(ran) == {"Hopper-v5", "CartPole-v1"}
    assert [name for name, _, measured in rows if measured.startswith("not run")] == ["Acrobot-v1"]


@pytest.mark.parametrize(
    ("algorithm", "adversary", "loss", "shuffled"),
    [
        ("gail", "gail", None, False),
        ("shuffled", "gail", None, True),
        ("fem", "fem", None, False),
        ("airl", "airl", None, False),
        ("wasserstein", "gail", "wasserstein", False),
    ],
)
def test_algorithms_are_settings_of_a_run(algorithm: str, adversary: str, loss: str | None, shuffled: bool) -> None:
    settings = paper_job.train_settings(job(algorithm), Path("d.npz"), Path("run"))
    assert (settings.adversary, settings.discriminator.get("loss"), settings.shuffle_demonstrations) == (
        adversary,
        loss,
        shuffled,
    )
    assert settings == replace(
        TrainSettings(env="CartPole-v1", demonstrations=Path("d.npz"), run_dir=Path("run")),
        adversary=settings.adversary,
        discriminator=settings.discriminator,
        shuffle_demonstrations=shuffled,
        total_timesteps=2048,
        eval_freq=40,
        checkpoint_freq=40,
        n_eval_episodes=10,
    )


def test_cloning_job_leaves_policy_and_evaluation(tmp_path: Path) -> None:
    folder = paper_table.prepare(job("bc"), tmp_path)
    paper_job.run_job(folder, side_by_side=2)
    (result,) = load_results(tmp_path)
    assert result.job == job("bc")
    assert len(result.content["deterministic"]["returns"]) == len(result.content["stochastic"]["returns"]) == 3
    assert result.content["timesteps"] == 0
    assert result.content["demonstrations"] == Demonstrations.load(shipped("CartPole-v1")).mean_return
    assert result.content["cloning"]["training_losses"]
    assert result.content["machine"]["jobs_side_by_side"] == 2
    assert (folder / "run" / "model.zip").is_file()
    before = (folder / "result.json").stat().st_mtime_ns
    paper_job.run_job(folder, side_by_side=1)
    assert (folder / "result.json").stat().st_mtime_ns == before


def test_jobs_end_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert paper_job.commit() is None


def test_two_processes_do_not_share_a_job(tmp_path: Path) -> None:
    folder = paper_table.prepare(job("bc"), tmp_path)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError, match="another process works on"):
            paper_job.run_job(folder, side_by_side=1)


def test_failed_job_is_told_and_the_others_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken, good = tmp_path / "CartPole-v1" / "broken", paper_table.prepare(job("bc"), tmp_path)
    broken.mkdir()
    assert paper_table.run_all([broken, good], 1) == [broken]
    printed = capsys.readouterr().out.splitlines()
    assert "broken: failed with status 1" in printed[0]
    assert "bc-4-0: score" in printed[1]
    assert "job.json" in (broken / "log.txt").read_text()


def test_interrupted_table_goes_on_from_its_checkpoints(tmp_path: Path, demonstrations: Path) -> None:
    results = tmp_path / "results"
    options = {"envs": "CartPole-v1", "algorithms": "gail", "trajectories": 4, "seeds": 0, "jobs": 2, "episodes": 2}
    options |= {"results": results, "demonstrations": demonstrations, "timesteps": 8192}
    command = [sys.executable, str(TABLE), *(text for name, it in options.items() for text in (f"--{name}", str(it)))]
    folder = results / "CartPole-v1" / "gail-4-0"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while not (folder / "run" / "checkpoint.zip").is_file() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM
    assert not (folder / "result.json").exists()
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody works on it any more

    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (result,) = load_results(results)
    assert result.content["timesteps"] == 8192
    run = Run(folder / "run")
    assert len(list(run.path.glob("progress*.csv"))) == 2
    steps = [point.timesteps for point in result.curve]
    assert steps == sorted(set(steps))
    assert len((results / "commands.txt").read_text().splitlines()) == 2


def fake(results: Path, job: Job, mean_return: float, curve: Sequence[tuple[int, float]] = ()) -> None:
    """What a job leaves, with random actions at 0 and demonstrations at 100; a step of its curve takes a minute."""
    folder = results / job.name
    folder.mkdir(parents=True)
    evaluation = {"mean_return": mean_return}
    content = {"random": 0.0, "demonstrations": 100.0, "deterministic": evaluation, "stochastic": evaluation}
    content |= {"episodes_of_a_point": 10, "curve": [(at, 100 * score, score, 60 * at) for at, score in curve]}
    content |= {"machine": {"cores": 2, "torch": "2"}, "commit": "abc1234"}
    (folder / "job.json").write_text(json.dumps(asdict(job)))
    (folder / "result.json").write_text(json.dumps(content))


class TestPage:
    """What is made of results."""

    @pytest.fixture
    def results(self, tmp_path: Path) -> Path:
        """Two cells."""
        for seed, last in enumerate((0.9, 1.0)):
            curve = [(1, 0.5), (2, 0.95), (3, 0.96), (4, last)]
            fake(tmp_path, job(seed=seed), 100 * last, curve)
        fake(tmp_path, job("bc"), 50.0)
        return tmp_path

    @pytest.fixture
    def paper(self, tmp_path: Path) -> Path:
        """A table of the paper, in which GAIL is at 0.8 and better than its expert."""
        file = tmp_path / "table.csv"
        columns = "env,algorithm,trajectories,return_mean,return_std,expert_mean"
        lines = ["CartPole-v0,GAIL,4,160,5,200", "CartPole-v0,BC,4,20,5,200", "Reacher-v1,GAIL entropy 0,4,-9,1,-4"]
        lines += ["Reacher-v1,GAIL entropy 1e-3,4,-7,1,-4", "Humanoid-v1,GAIL,80,10000,1,9500"]
        file.write_text("\n".join([columns, *lines]))
        return file

    def test_page_has_every_cell_and_says_what_was_not_run(self, results: Path, paper: Path, tmp_path: Path) -> None:
        (results / "commands.txt").write_text("python benchmarks/paper_table.py\n")
        output = tmp_path / "docs"
        render.main(results, paper, output, remark="CartPole's are old.")
        assert sorted(path.name for path in output.iterdir()) == [
            "curves-CartPole-v1.png",
            "paper-table.md",
            "paper-table.png",
            "runs",
        ]
        page = (output / "paper-table.md").read_text()
        assert "| GAIL | 4 | 0.80 | 0.95 | 0.90 to 1.00 | 0.90, 1.00 | 0.95 | 95 ± 5 | 160 ± 5 | 0.78 | yes |" in page
        assert "| BC | 4 | 0.10 | 0.50 | - | 0.50 | 0.50 | 50 ± 0 | 20 ± 5 | - | - |" in page
        assert "| GAIL | 7 | - | not run | - | - | - | - | - | - | - |" in page
        assert "| GAIL | 80 | - | not run | - | - | - | - | 10000 ± 1 | - | - |" in page
        assert "| GAIL | second | 0.95 | 0.90 to 1.00 | 0.80 | 1 | 2 |" in page
        assert "| BC | second | not run | - | - | 0 | 0 |" in page  # with more than one seed
        assert "| CartPole-v1 | GAIL | 4 | never, 2 | never | -, 2.0 |" in page
        assert page.count("not run") > 100
        assert "cores 2, torch 2, commit abc1234." in page
        assert "python benchmarks/paper_table.py" in page
        assert page.index("# The paper's table") < page.index("**CartPole's are old.**") < page.index("held-out seeds")

    def test_record_alone_makes_the_same_page_and_takes_more(self, results: Path, paper: Path, tmp_path: Path) -> None:
        output = tmp_path / "docs"
        (results / "commands.txt").write_text("python benchmarks/paper_table.py --jobs 2\n")
        render.main(results, paper, output)
        page = (output / "paper-table.md").read_text()
        shutil.rmtree(results / "CartPole-v1")
        render.main(None, paper, output)
        assert (output / "paper-table.md").read_text() == page
        kept = json.loads((output / "runs" / "CartPole-v1" / "bc-4-0.json").read_text())
        assert kept["job"]["demonstrations"] == "CartPole-v1.npz"

        fake(results, job("bc"), 60.0)
        fake(results, job("bc", seed=1), 70.0)
        fake(results, replace(job("bc"), variant="replay"), 80.0)
        (results / "commands.txt").write_text("python benchmarks/paper_table.py --jobs 2\nanother\n")
        render.main(results, paper, output)
        page = (output / "paper-table.md").read_text()
        assert "| BC | 4 | 0.10 | 0.65 | 0.60 to 0.70 | 0.60, 0.70 | 0.65 | 65 ± 5 | 20 ± 5 | - | - |" in page
        assert "```bash\npython benchmarks/paper_table.py --jobs 2\nanother\n```" in page

    def test_page_needs_no_paper_and_no_results(self, tmp_path: Path) -> None:
        (tmp_path / "results").mkdir()
        render.main(tmp_path / "results", None, tmp_path / "docs")
        page = (tmp_path / "docs" / "paper-table.md").read_text()
        assert "0 jobs of 0 cells were run" in page
        assert "****" not in page

    def test_best_entropy_weight_stands_for_the_papers_reacher(self, paper: Path) -> None:
        value = load_paper(paper)["Reacher-v5", "gail", 4]
        assert value == PaperValue(-7.0, 1.0, -4.0, "GAIL entropy 1e-3")
        assert value.score(-44.0) == pytest.approx(37 / 40)

    def test_clock_of_a_resumed_run_goes_on(self, tmp_path: Path) -> None:
        write_settings(tmp_path / "settings.json", TrainSettings())
        header = "time/total_timesteps,eval/mean_reward,time/time_elapsed"
        (tmp_path / "progress.csv").write_text(f"{header}\n1,,60\n2,5.0,\n2,,120\n3,,180\n")
        (tmp_path / "progress-2.csv").write_text(f"{header}\n3,6.0,\n3,,30\n4,7.0,\n4,,50\n")
        curve = paper_job.learning_curve(Run(tmp_path))
        assert curve == [(2, 5.0, None, 120), (3, 6.0, None, 150), (4, 7.0, None, 170)]

    @pytest.mark.parametrize(
        ("algorithm", "n", "env", "paper", "target"),
        [
            ("gail", 11, "Hopper-v5", 1.01, 0.98),
            ("gail", 4, "Ant-v5", 0.75, 0.73),
            ("fem", 4, "Hopper-v5", 1.0, 0.9),
            ("fem", 11, "Hopper-v5", 1.0, None),
            ("fem", 7, "CartPole-v1", 1.0, 0.9),
            ("gtal", 4, "Ant-v5", -1.0, None),
            ("shuffled", 4, "Ant-v5", None, None),
        ],
    )
    def test_cells_reach_the_papers_score(
        self, algorithm: str, n: int, env: str, paper: float | None, target: float | None
    ) -> None:
        assert render.to_reach(algorithm, n, env, paper) == pytest.approx(target)

    def test_no_seed_of_gail_may_fail(self) -> None:
        assert render.reached("gail", [1.2, 0.79], 0.9) == "**no**"
        assert render.reached("fem", [1.2, 0.79], 0.9) == "yes"
        assert render.reached("fem", [1.0, 0.79], 0.9) == "**no**"

    def test_iqm_is_the_mean_of_the_middle_half(self) -> None:
        assert render.iqm(np.array([0.0, 4.0, 5.0, 100.0])) == 4.5
        assert render.iqm(np.array([1.0, 2.0]), np.array([6.0])) == 3.0

    def test_interval_resamples_seeds_within_each_sample(self) -> None:
        assert render.interval([[1.0, 1.0], [3.0, 3.0]]) == (2.0, 2.0)
        assert render.interval([[0.0, 1.0]]) == (0.0, 1.0)
        assert render.interval([[0.0, 1.0], [1.0]]) is None


@pytest.mark.skipif(not (SHARED / "paper").is_dir(), reason="needs the authors' published data")
def test_every_cell_of_the_paper_is_one_of_ours() -> None:
    ours = set(cells(TASKS, ("gail", "fem", "gtal", "bc"), None))
    missing = {cell for cell in load_paper(SHARED / "paper" / "table3.csv") if cell not in ours}
    assert {env for env, _, _ in missing} == {"Humanoid-v5"}


class TestExperts:
    """The authors' policies."""

    def test_network_is_a_standardiser_layers_and_an_output(self) -> None:
        expert = record_experts.Expert(
            mean=np.array([1.0, 5.0]),
            deviation=np.array([2.0, 0.0]),
            layers=((np.array([[1.0, -1.0], [9.0, 9.0]]), np.array([0.0, 1.0]), record_experts.ACTIVATIONS["lrelu"]),),
            output=(np.array([[1.0], [10.0]]), np.array([0.5])),
            log_std=np.array([0.0]),
        )
        # (5 - 1) / 2 = 2 and a constant; then 2 and -1, of which leaky ReLU leaves 2 and -0.01.
        assert expert.forward(np.array([5.0, 7.0])) == pytest.approx([2.0 - 0.1 + 0.5])
        noise = np.random.default_rng(3).standard_normal(1)
        assert expert.act(np.array([5.0, 7.0]), np.random.default_rng(3), deterministic=False) == pytest.approx(
            2.4 + noise
        )

    def test_observations_are_turned_into_those_of_then(self) -> None:
        angles = np.array([0.3, -2.0])
        today = np.array([np.cos(0.3), np.sin(0.3), np.cos(-2.0), np.sin(-2.0), 4.0, 5.0])
        sources = record_experts.SOURCES
        np.testing.assert_allclose(sources["Acrobot-v1"].observe(today), [*angles, 4.0, 5.0])
        ant = sources["Ant-v5"].observe(np.arange(1.0, 106.0))
        assert np.flatnonzero(ant == 0).tolist() == list(range(27, 33))
        humanoid = sources["Humanoid-v5"].observe(np.arange(1.0, 349.0))
        zeros = [*range(45, 55), *range(185, 191), *range(269, 275), *range(292, 298)]
        assert (len(ant), len(humanoid)) == (111, 376)
        assert np.flatnonzero(humanoid == 0).tolist() == zeros
        assert sources["Reacher-v5"].observe(np.ones(10)).tolist() == [1.0] * 10 + [0.0]

    def test_stored_policy_is_read_recorded_and_compared(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        h5py = pytest.importorskip("h5py")
        with h5py.File(tmp_path / "CartPole-v0.h5", "w") as file:
            layers = [{"type": "fc", "n": 3}, {"type": "nonlin", "func": "tanh"}]
            file.attrs["args"] = json.dumps({"policy_hidden_spec": json.dumps(layers)})
            policy = file.create_group("snapshots/iter0000100/GibbsPolicy")
            generator = np.random.default_rng(0)
            for name, shape in {
                "obsnorm/Standardizer/mean_1_D": (1, 4),
                "hidden/FeedforwardNet/layer_0/AffineLayer/W": (4, 3),
                "hidden/FeedforwardNet/layer_0/AffineLayer/b": (1, 3),
                "out/AffineLayer/W": (3, 2),
                "out/AffineLayer/b": (1, 2),
            }.items():
                policy[name] = generator.normal(size=shape)
            policy["obsnorm/Standardizer/meansq_1_D"] = policy["obsnorm/Standardizer/mean_1_D"][()] ** 2 + 4.0
        expert = record_experts.SOURCES["CartPole-v1"].load(tmp_path)
        assert expert is not None
        np.testing.assert_allclose(expert.deviation, 2.0)
        first, second = tmp_path / "first", tmp_path / "second"
        record_experts.main(tmp_path, output=first, envs=("CartPole-v1",), episodes=3)
        record_experts.main(tmp_path, output=second, envs=("CartPole-v1", "Acrobot-v1"), episodes=2, compare=first)
        printed = capsys.readouterr().out
        assert "the same, bit for bit" in printed
        assert "Acrobot-v1: not recorded, there is no Acrobot-v0.h5" in printed
        recorded = Demonstrations.load(first / "CartPole-v1.npz")
        assert (recorded.env_id, recorded.n_episodes) == ("CartPole-v1", 3)

    def test_differences_are_told(self) -> None:
        ours = Demonstrations.load(shipped("CartPole-v1")).take(1)
        theirs = replace(ours, whole=replace(ours.whole, rewards=np.full(ours.whole.n_steps, 2.0)))
        n = ours.whole.n_steps
        assert record_experts.differences(ours, theirs) == {"rewards": f"{n} of {n} numbers, by up to 1"}

    @pytest.mark.parametrize("env", ["CartPole-v1", "MountainCar-v0", "Acrobot-v1"])
    @pytest.mark.skipif(not (SHARED / "paper").is_dir(), reason="needs the authors' published data")
    def test_shared_files_are_made_again(self, env: str) -> None:
        pytest.importorskip("h5py")
        source = record_experts.SOURCES[env]
        expert = source.load(SHARED / "paper" / "experts")
        assert expert is not None
        recorded = record_experts.record(env, source, expert, 2)
        assert record_experts.differences(recorded, Demonstrations.load(SHARED / "demos" / f"{env}.npz")) == {}


class TestVersus:
    """The `imitation` library beside ours."""

    def test_settings_name_classes(self) -> None:
        stored: Any = {"net_arch": [{"pi": [64]}], "norm": {"py/type": "collections.OrderedDict"}, "n": 3}
        from collections import OrderedDict

        assert versus_imitation.resolved(stored) == {"net_arch": {"pi": [64]}, "norm": OrderedDict, "n": 3}

    def test_score_counts_where_it_holds(self) -> None:
        content = {"curve": [(1, 0.1, 0.9), (2, 0.2, 0.4), (3, 0.3, 0.8), (4, 0.4, 0.9), (5, 0.5, 0.8)]}
        assert versus_imitation.arrival(content, 0.8) == (3, 0.3)
        assert versus_imitation.arrival(content, 0.85) is None

    @pytest.mark.parametrize("variant", get_args(versus_imitation.Variant))
    def test_runs_are_kept(
        self, variant: versus_imitation.Variant, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        if variant.endswith("envpool"):
            pytest.importorskip("envpool")
        if variant.startswith("imitation"):
            pytest.importorskip("imitation")
            pytest.importorskip("tensorboard")
        for printed in ("done", ""):
            versus_imitation.main(
                env="CartPole-v1",
                demonstrations=shipped("CartPole-v1"),
                timesteps=2048,
                seeds=(0,),
                variants=(variant,),
                eval_freq=1024,
                n_eval_episodes=1,
                results=tmp_path,
            )
            lines = capsys.readouterr().out.splitlines()
            assert (f"{variant}-0: {printed}" in lines[0]) == bool(printed)
        content = json.loads((tmp_path / "CartPole-v1" / f"{variant}-0" / "result.json").read_text())
        assert content["timesteps"] >= 2048
        assert content["curve"][-1][0] <= content["timesteps"]
        assert 0 < content["curve"][0][1] <= content["seconds"]
        with pytest.raises(ValueError, match="has a run with other settings"):
            versus_imitation.main(
                env="CartPole-v1", demonstrations=shipped("CartPole-v1"), variants=(variant,), results=tmp_path
            )


def test_devices_are_timed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(devices, "N_ENVS", 2)
    monkeypatch.setattr(devices, "N_STEPS", 32)
    n_threads = torch.get_num_threads()
    devices.main(iterations=main_path.WARM_UP + 1)
    torch.set_num_threads(n_threads)
    rows = [line.split("│")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert [name.strip() for name, *_ in rows] == ["GAIL, Hopper-v5", "TRPO, Hopper-v5", "GAIL, images", "PPO, images"]
    assert all(float(speed.replace(",", "")) > 0 for _, *speeds in rows for speed in speeds)


def test_results_score_between_random_and_demonstrations() -> None:
    content = {"random": 10.0, "demonstrations": 110.0, "stochastic": {"mean_return": 60.0}}
    assert Result(job(), content).score("stochastic") == 0.5


class TestAblations:
    """What each default is worth."""

    @pytest.mark.parametrize("variant", VARIANTS)
    def test_every_variant_is_the_defaults_but_for_its_own_settings(self, variant: str, tmp_path: Path) -> None:
        plain = paper_job.train_settings(job(), shipped("CartPole-v1"), tmp_path)
        settings = paper_job.train_settings(replace(job(), variant=variant), shipped("CartPole-v1"), tmp_path)
        changed = {name for name, value in asdict(settings).items() if value != asdict(plain)[name]}
        assert changed == set(VARIANTS[variant].settings)

    def test_jobs_of_variants_do_not_share_folders(self) -> None:
        names = {replace(job(), variant=variant).name for variant in VARIANTS}
        assert len(names) == len(VARIANTS)
        assert job().name in names

    def test_page_has_a_row_for_each_variant(self, tmp_path: Path) -> None:
        for seed, last in enumerate((0.9, 1.0)):
            fake(tmp_path, replace(job(seed=seed), variant="replay"), 100 * last, [(1, 0.95), (2, 0.95), (3, last)])
        page = ablations.page(load_results(tmp_path), "python benchmarks/ablations.py")
        assert "## CartPole-v1, 4 trajectories, 2,048 steps" in page
        assert "| three past rollouts replayed | never, 1 | never | 0.95 | 0.90 | 0.90, 1.00 | 0.95 |" in page
        assert page.count("| not run |") == len(VARIANTS) - 1

    def test_small_ones_run(self, tmp_path: Path, demonstrations: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "argv", ["benchmarks/ablations.py"])
        results = tmp_path / "results"
        ablations.main(
            results, demonstrations, tmp_path, envs=("CartPole-v1",), variants=("replay",), seeds=(0,), timesteps=2048
        )
        (result,) = load_results(results)
        assert Run(results / result.job.name / "run").settings.replay_rollouts == 3  # type: ignore[attr-defined]
        assert (results / "commands.txt").read_text() == "python benchmarks/ablations.py\n"
        assert "| three past rollouts replayed | never | never |" in (tmp_path / "ablations.md").read_text()
