"""The documentation says what is so: its code runs, its links lead somewhere, its names and messages exist."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from sb3_contrib import TRPO
from stable_baselines3.common.logger import KVWriter, Logger

from sb3_gail import Demonstrations, Discriminator
from sb3_gail.adversaries import FeatureMatching
from sb3_gail.callbacks import BCAnnealingCallback, GAILCallback, ImitationEvalCallback
from sb3_gail.data import shipped
from sb3_gail.wrappers import GAILRewardWrapper

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^(<!-- not run -->\n)?```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

SMALL = [
    (r"Hopper-v5", "CartPole-v1"),
    (r"\.learn\([\d_]+", ".learn(1"),
    (r"(make_vec_env\(\"[\w-]+\"), \d+", r"\1, 2"),
    (r"TRPO\(\"MlpPolicy\", (\w+)", r'TRPO("MlpPolicy", \1, n_steps=128'),
    (r"pretrain_bc\((\w+), (\w+)", r"pretrain_bc(\1, \2, epochs=1"),
]
"""What makes a page's code small: nothing in it is about Hopper or about how long it learns."""


def blocks(page: Path, language: str) -> Iterator[tuple[str, bool]]:
    """The code blocks of a page, and whether they are to be run."""
    for not_run, found, code in BLOCK.findall(page.read_text(encoding="utf-8")):
        if found == language:
            yield code, not not_run


def prose(page: Path) -> str:
    return BLOCK.sub("", page.read_text(encoding="utf-8"))


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def first_cells(page: Path) -> list[str]:
    """The code in the first cells of a page's tables."""
    rows = [line.split(" | ")[0] for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return [code for row in rows for code in re.findall(r"`([^`]+)`", row)]


@pytest.mark.filterwarnings("ignore::tqdm.TqdmExperimentalWarning")
@pytest.mark.parametrize("page", [page for page in PAGES if any(run for _, run in blocks(page, "python"))], ids=page_id)
def test_the_code_of_a_page_runs_from_top_to_bottom(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = "\n".join(block for block, run in blocks(page, "python") if run)
    for pattern, small in SMALL:
        code = re.sub(pattern, small, code)
    exec(compile(code, page.name, "exec"), {})


def test_most_of_the_readme_runs() -> None:
    assert len([run for _, run in blocks(ROOT / "README.md", "python") if run]) >= 4


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_code_that_is_not_run_compiles_and_imports_what_exists(page: Path) -> None:
    for code, run in blocks(page, "python"):
        compile(code, page.name, "exec")
        if not run:
            exec("\n".join(line for line in code.splitlines() if line.startswith("from sb3_gail")), {})


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", prose(page)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), f"{page_id(page)} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = [re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings]
            assert anchor in anchors, f"{page_id(page)} links to {target}"


def test_every_page_and_example_is_in_the_index() -> None:
    linked = set(re.findall(r"\]\(([^)#]+)\)", (ROOT / "docs/index.md").read_text(encoding="utf-8")))
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    examples = {f"../examples/{path.name}" for path in (ROOT / "examples").glob("*.py")} - {"../examples/demo.py"}
    assert pages | examples <= linked


@pytest.mark.parametrize("name", ["demonstrations.md", "troubleshooting.md"])
def test_messages_that_the_docs_explain_exist(name: str) -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "sb3_gail").rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # strings that go on in the next line
    spoken = [cell for cell in first_cells(ROOT / "docs" / name) if cell.count(" ") >= 2]
    assert spoken
    for message in spoken:
        assert message in source, message


def test_the_file_format_names_what_save_writes(tmp_path: Path) -> None:
    documented = set(first_cells(ROOT / "docs/demonstrations.md"))
    demonstrations = Demonstrations.load(shipped("CartPole-v1")).subsample(2)
    demonstrations.save(tmp_path / "saved.npz")
    with np.load(tmp_path / "saved.npz") as written:
        assert set(written.files) <= documented


class _Names(KVWriter):
    """Collects the names of all that is logged."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, Any], step: int = 0) -> None:
        self.names |= set(key_values)

    def close(self) -> None:
        pass


def test_metrics_are_documented_and_documented_ones_are_logged() -> None:
    falling = TRPO("MlpPolicy", gym.make("CartPole-v1"), seed=0)  # so that there are ends to tell apart
    demonstrations = Demonstrations.from_agent(falling, gym.make("CartPole-v1"), 2)
    discriminator = Discriminator.from_demonstrations(
        demonstrations, batch_size=32, entropy_bonus=0.001, weight_decay=0.001
    )
    names = _Names()
    for adversary in (discriminator, FeatureMatching.from_demonstrations(demonstrations)):
        model = TRPO("MlpPolicy", GAILRewardWrapper(gym.make("CartPole-v1"), adversary), n_steps=128)
        model.set_logger(Logger(None, [names]))
        callbacks = [
            GAILCallback(adversary, demonstrations),
            BCAnnealingCallback(demonstrations, transitions_per_step=32),
            ImitationEvalCallback(gym.make("CartPole-v1"), demonstrations, eval_freq=128, n_eval_episodes=2, verbose=0),
        ]
        model.learn(384, callback=callbacks)
    logged = {name for name in names.names if name.startswith(("gail/", "eval/", "bc/"))}
    documented = {cell for cell in first_cells(ROOT / "docs/metrics.md") if cell.startswith(("gail/", "eval/", "bc/"))}
    assert documented == logged


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_commands_are_ones_that_the_command_line_takes(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line for code, _ in blocks(page, "sh") for line in code.splitlines() if line.startswith("sb3-gail ")]
    if not lines:
        return
    pytest.importorskip("tyro")
    from sb3_gail import cli

    called: list[str] = []

    def stand_in(function: Any) -> Any:
        @functools.wraps(function)
        def command(*arguments: Any, **settings: Any) -> None:
            called.append(function.__name__)

        return command

    for name in ("train", "evaluate", "record", "expert", "plot"):
        monkeypatch.setattr(cli, name, stand_in(getattr(cli, name)))
    for line in lines:
        cli.main(shlex.split(line)[1:])
    assert called == [line.split()[1] for line in lines]
