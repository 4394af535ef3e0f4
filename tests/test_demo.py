"""What `make demo` runs, in small."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("tyro")
pytest.importorskip("matplotlib")

sys.path.append(str(Path(__file__).parents[1] / "examples"))

from demo import main


def test_demo_prints_a_table_and_the_path_of_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(env="CartPole-v1", total_timesteps=2048, eval_freq=1024, n_eval_episodes=2, run_dir=tmp_path / "run")
    printed = capsys.readouterr().out
    assert "CartPole-v1 after 2,048 steps" in printed
    for row in ("random actions", "demonstrations", "BC alone", "GAIL"):
        assert f"│ {row}" in printed
    assert f"Learning curve: {tmp_path / 'run' / 'curve.png'}" in printed
    assert (tmp_path / "run" / "curve.png").read_bytes().startswith(b"\x89PNG")
