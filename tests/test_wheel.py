"""What is built: the package and nothing beside it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("build")
pytest.importorskip("hatchling")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist of this repository and the wheel made from that."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return folder


@pytest.fixture(scope="module")
def wheel_files(built: Path) -> list[str]:
    """The names of the files in the wheel."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_wheel_has_one_top_level_package(wheel_files: list[str]) -> None:
    packages = {name.split("/")[0] for name in wheel_files if ".dist-info/" not in name}
    assert packages == {"sb3_gail"}


def test_wheel_has_every_module_and_its_data(wheel_files: list[str]) -> None:
    sources = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "sb3_gail").rglob("*")
        if path.is_file() and path.suffix in {".py", ".npz", ".md", ".typed"}
    }
    assert "sb3_gail/py.typed" in sources
    assert "sb3_gail/data/CartPole-v1.npz" in sources
    assert {name for name in wheel_files if ".dist-info/" not in name} == sources


def test_wheel_has_the_license_and_the_command(built: Path, wheel_files: list[str]) -> None:
    (wheel,) = built.glob("*.whl")
    (entry_points,) = [name for name in wheel_files if name.endswith("entry_points.txt")]
    with zipfile.ZipFile(wheel) as archive:
        assert "sb3-gail = sb3_gail.cli:main" in archive.read(entry_points).decode()
    assert any(name.endswith("licenses/LICENSE") for name in wheel_files)


def test_sdist_has_no_links(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert not [member.name for member in members if member.issym() or member.islnk()]
    top = {member.name.split("/")[1] for member in members}
    assert top.isdisjoint({"callbacks", "wrappers"})
    assert "sb3_gail" in top


def test_installed_package_reads_its_demonstrations(built: Path, tmp_path: Path) -> None:
    """From the wheel alone, in a folder of its own."""
    (wheel,) = built.glob("*.whl")
    shutil.unpack_archive(wheel, tmp_path / "site", format="zip")
    code = (
        "import sb3_gail, sb3_gail.data as data\n"
        "print(sb3_gail.__file__)\n"
        "print(sb3_gail.Demonstrations.load(data.shipped('CartPole-v1')).n_episodes)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site")},
    )
    file, n_episodes = run.stdout.split()
    assert Path(file).is_relative_to(tmp_path)
    assert int(n_episodes) > 0
