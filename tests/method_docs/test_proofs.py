"""The finder of proof tests follows imports, helpers, fixtures and targets, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from scripts.proof_tests import Proof, proofs  # noqa: E402

FILE = """
import pytest
from agentdistill_made import other
from agentdistill_made.method import Method, MethodConfig

CASES = [MethodConfig()]


def helper(config):
    return Method(config)


def test_directly():
    assert Method


@pytest.mark.oracle
def test_by_a_helper():
    assert helper(None)


@pytest.mark.parametrize("case", CASES)
def test_by_its_cases(case):
    assert case


class TestClass:
    def make(self):
        return Method

    def test_inside(self):
        assert self.make()


def test_by_target():
    assert "agentdistill_made.third:Third"


def test_module():
    assert other.thing


def test_unrelated():
    assert True
"""


def test_what_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "tests" / "area"
    folder.mkdir(parents=True)
    (folder / "test_made.py").write_text(FILE)
    found = proofs(tmp_path)

    def names(module: str, name: str = "") -> list[str]:
        return sorted(proof.name for proof in found[module][name])

    assert names("agentdistill_made.method", "Method") == ["TestClass.test_inside", "test_by_a_helper", "test_directly"]
    assert names("agentdistill_made.method", "MethodConfig") == ["test_by_its_cases"]
    assert len(names("agentdistill_made.method")) == 4
    assert names("agentdistill_made.third", "Third") == ["test_by_target"]
    assert names("agentdistill_made.other") == ["test_module"]
    assert set(found) == {"agentdistill_made.method", "agentdistill_made.third", "agentdistill_made.other"}
    oracles = {proof.name for proof in found["agentdistill_made.method"][""] if proof.oracle}
    assert oracles == {"test_by_a_helper"}
    assert Proof("tests/area/test_made.py", "test_directly", False) in found["agentdistill_made.method"][""]


def test_a_module_marked_as_oracle(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    text = "import pytest\nfrom agentdistill_made.method import f\npytestmark = pytest.mark.oracle\n"
    text += "def test_it():\n    f()\n"
    (tmp_path / "tests" / "test_made.py").write_text(text)
    assert [proof.oracle for proof in proofs(tmp_path)["agentdistill_made.method"][""]] == [True]
