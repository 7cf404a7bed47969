"""What `pip install agentdistill` brings: everything a run needs, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from configparser import ConfigParser
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {"agentdistill": ROOT, "plugins": ROOT / "plugins", "envs": ROOT / "envs"}
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """Built from a copy, so that the checkout gets no build folders, and without the network."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, copy / name)
    for name in SOURCES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (copy / "tests").mkdir()
    (copy / "tests" / "__init__.py").touch()
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(out)]
    done = subprocess.run([*command, str(copy)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("agentdistill-*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_every_file_of_the_three_roots_is_inside(wheel: zipfile.ZipFile) -> None:
    expected = {
        path.relative_to(base).as_posix()
        for folder, base in SOURCES.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and ".egg-info" not in str(path)
    }
    inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert expected - inside == set(), "missing in the wheel"
    assert inside - expected == set(), "unexpected in the wheel"
    assert "agentdistill/py.typed" in inside


def test_nothing_but_our_packages_is_installed(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert all(top == "agentdistill" or top.startswith(("agentdistill_", "agentdistill-")) for top in tops), tops


def test_the_wheel_stays_small(wheel: zipfile.ZipFile) -> None:
    assert sum(entry.compress_size for entry in wheel.infolist()) < 16 * MEGABYTE


def test_metadata(wheel: zipfile.ZipFile) -> None:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = Parser().parsestr(wheel.read(name).decode())
    assert metadata["License-Expression"] == "Apache-2.0" and metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("License-File") or []) == {"LICENSE", "NOTICE"}
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(metadata.get_all("Provides-Extra") or []) == set(extras)


def test_entry_points_name_packages_that_are_inside(wheel: zipfile.ZipFile) -> None:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
    entries = ConfigParser()
    entries.read_string(wheel.read(name).decode())
    inside = set(wheel.namelist())
    modules = [target.partition(":")[0] for section in entries.values() for target in section.values()]
    assert len(modules) > 5
    for module in modules:
        path = module.replace(".", "/")
        assert f"{path}/__init__.py" in inside or f"{path}.py" in inside, module
    packages = {name.split("/")[0] for name in inside if name.startswith("agentdistill_")}
    assert packages == set(entries["agentdistill"].values()), "every first-party package has its entry point"


def test_the_unpacked_wheel_runs(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    code = "import agentdistill.cli, agentdistill_trackers.jsonl as j; print(agentdistill.__file__); print(j.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert all(line.startswith(str(tmp_path)) for line in done.stdout.splitlines())
