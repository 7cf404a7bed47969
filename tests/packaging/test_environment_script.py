"""scripts/lib/environment.sh on machines that lack something: what it installs, and what it says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "lib" / "environment.sh"
ORDINARY = ("bash", "cat", "cut", "dirname", "env", "grep", "id", "mv", "rm", "sha256sum", "touch", "true")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder of programs to use as PATH: the ordinary ones and a Python, but no compilers and no apt-get."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ORDINARY:
        found = shutil.which(name)
        assert found, name
        (programs / name).symlink_to(found)
    add(programs, "python3", f'exec "{sys.executable}" "$@"')
    return programs


def add(programs: Path, name: str, body: str) -> None:
    path = programs / name
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/bash\n{body}\n")
    path.chmod(0o755)


def run(machine: Path, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f'set -euo pipefail; source "{SCRIPT}"; {command}'],
        env={"PATH": str(machine), "HOME": str(machine), "AGENTDISTILL_VENV": str(machine / "venv"), **environment},
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_what_is_missing_is_listed_by_its_debian_name(machine: Path) -> None:
    found = run(machine, "missing_system_packages").stdout.split()
    assert {"cmake", "g++", "make"} <= set(found) and "python3" not in found
    (machine / "python3").unlink()
    assert {"python3", "python3-venv"} <= set(run(machine, "missing_system_packages").stdout.split())


def test_an_old_python_does_not_count(machine: Path) -> None:
    add(machine, "python3", "exit 1")
    assert "python3" in run(machine, "missing_system_packages").stdout.split()
    named = run(machine, "find_python", AGENTDISTILL_PYTHON=sys.executable)
    assert named.stdout.strip() == sys.executable


def test_without_apt_the_line_to_type_is_printed(machine: Path) -> None:
    add(machine, "id", "echo 1000")
    done = run(machine, "prepare_environment lora")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "sudo apt-get update && sudo apt-get install -y cmake g++ make" in done.stderr
    assert not (machine / "venv").exists()


def test_without_a_password_nothing_is_installed(machine: Path) -> None:
    add(machine, "id", "echo 1000")
    add(machine, "apt-get", f'touch "{machine}/called"')
    add(machine, "sudo", "exit 1")
    done = run(machine, "install_system_packages cmake")
    assert done.returncode == 2 and "type:  sudo apt-get update && sudo apt-get install -y cmake" in done.stderr
    assert not (machine / "called").exists()


@pytest.mark.parametrize("root", [True, False])
def test_where_it_is_allowed_apt_installs(machine: Path, root: bool) -> None:
    add(machine, "id", f"echo {0 if root else 1000}")
    add(machine, "apt-get", f'echo "$@" >>"{machine}/called"')
    add(machine, "sudo", '[ "$1" = -n ] && shift; exec "$@"')
    done = run(machine, "install_system_packages cmake g++")
    assert done.returncode == 0, done.stderr
    assert (machine / "called").read_text().splitlines() == ["update -qq", "install -y -qq cmake g++"]
    refused = run(machine, "install_system_packages cmake", AGENTDISTILL_NO_APT="1")
    assert refused.returncode == 2 and "apt-get install -y cmake" in refused.stderr


def test_a_failed_installation_stops(machine: Path) -> None:
    add(machine, "id", "echo 0")
    add(machine, "apt-get", '[ "$1" = update ] || { echo "E: no such package" >&2; exit 100; }')
    done = run(machine, "install_system_packages cmake; echo went on")
    assert done.returncode == 2 and "went on" not in done.stdout
    assert "E: no such package" in done.stderr and "apt-get could not install: cmake" in done.stderr


FAKE_PYTHON = """
echo "$@" >>"{log}"
[ "$2" != pip ] || sleep 0.2
case "$*" in
  "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
esac
"""


@pytest.fixture
def checkout(machine: Path, tmp_path: Path) -> Path:
    """A checkout with pins and the script, on a machine whose interpreter only notes how it was called."""
    for name in ("mkdir", "cp", "flock", "sleep"):
        (machine / name).symlink_to(shutil.which(name) or "")
    for name in ("cmake", "g++", "make"):
        add(machine, name, "")
    add(machine, "python3", FAKE_PYTHON.format(log=tmp_path / "log"))
    (tmp_path / "scripts" / "lib").mkdir(parents=True)
    shutil.copy(SCRIPT, tmp_path / "scripts" / "lib")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "constraints.txt").write_text("torch==9.9.9\n")
    (tmp_path / "log").touch()
    return tmp_path


def preparing(checkout: Path, extras: str) -> subprocess.Popen[str]:
    script = checkout / "scripts" / "lib" / "environment.sh"
    command = f'set -euo pipefail; source "{script}"; python_has_headers() {{ true; }}; prepare_environment {extras}'
    environment = {**os.environ, "PATH": str(checkout / "bin")}
    return subprocess.Popen(["bash", "-c", command], env=environment, stderr=subprocess.PIPE, text=True)


def prepare(checkout: Path, extras: str) -> list[str]:
    """Prepares the environment and tells what pip was asked for."""
    (checkout / "log").write_text("")
    process = preparing(checkout, extras)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return installed(checkout)


def installed(checkout: Path) -> list[str]:
    lines = (checkout / "log").read_text().splitlines()
    return [line.split("--progress-bar off ")[-1] for line in lines if "install" in line]


def test_the_environment_is_made_once_and_renewed_when_its_pins_change(checkout: Path) -> None:
    assert prepare(checkout, "a,b") == ["-c constraints.txt torch==9.9.9", "-c constraints.txt -e .[a,b]"]
    assert prepare(checkout, "a,b") == [] and prepare(checkout, "b") == []
    assert prepare(checkout, "a,c")[1] == "-c constraints.txt -e .[a,c]"
    assert prepare(checkout, "a,b,c") == []
    (checkout / "constraints.txt").write_text("torch==9.9.10\n")
    assert prepare(checkout, "b")[0] == "-c constraints.txt torch==9.9.10"
    assert prepare(checkout, "a,b") != []


def test_two_scripts_started_at_once_do_not_install_together(checkout: Path) -> None:
    processes = [preparing(checkout, "a") for _ in range(3)]
    assert [process.wait() for process in processes if process.communicate()] == [0, 0, 0]
    assert len(installed(checkout)) == 2, "once torch, once agentdistill"
