"""The kit in somebody else's pytest session."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

THEIR_TESTS = """
from agentdistill.testing import environment_contract
from tests.testing.walker import NoScore, WalkerSource

test_contract = environment_contract(WalkerSource, episodes=1)
test_broken = environment_contract(lambda: WalkerSource(NoScore), episodes=1)

def test_with_the_fixture(check_environment):
    check_environment(WalkerSource(), "train", episodes=1)

def test_a_plugin(check_plugin):
    check_plugin("step_weights")

def test_a_bad_plugin(check_plugin, tmp_path):
    (tmp_path / "bad.py").write_text("1 / 0")
    check_plugin(str(tmp_path / "bad.py"))
"""


def test_a_session_reports_one_case_for_each_rule(tmp_path: Path):
    (tmp_path / "test_theirs.py").write_text(THEIR_TESTS)
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "agentdistill.testing.pytest_plugin", "-p", "no:cacheprovider"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    failed = [line.split()[0].partition("::")[2] for line in done.stdout.splitlines() if " FAILED" in line]
    assert failed == ["test_broken[info]", "test_a_bad_plugin"], done.stdout
    assert "rule: Every info has the agreed keys" in done.stdout
    assert "ZeroDivisionError" in done.stdout and "37 passed" in done.stdout


def test_the_fixtures_are_installed_for_every_session():
    entries = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    assert entries == {"agentdistill": "agentdistill.testing.pytest_plugin"}


def test_loading_the_fixtures_loads_nothing_else():
    code = "import sys, agentdistill.testing.pytest_plugin; print(*{'torch', 'numpy', 'gymnasium'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []
