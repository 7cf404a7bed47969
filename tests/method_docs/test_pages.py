"""Every plugin that ships has a page that says what it is, where it comes from, what its options do, who proves it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from agentdistill.plugins import PluginRegistry
from agentdistill.plugins.kinds import KINDS
from agentdistill.plugins.options import field_descriptions
from agentdistill.plugins.registration import Registration

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "methods"

sys.path.insert(0, str(ROOT))
from scripts import method_pages  # noqa: E402
from scripts.proof_tests import proofs  # noqa: E402

ENTRIES = method_pages.entries(PluginRegistry.load(third_party=False))
METHODS = ("loss", "step-weight", "token-weight", "advantage", "fusion", "surrogate", "filter", "curriculum", "view")
"""Kinds that papers publish."""

NO_PAPER = {
    "advantage/reinforce": "the textbook's",
    "curriculum/adaptive": "ours",
    "curriculum/full": "nothing to cite",
    "curriculum/rescue": "DivOPD, fall 2026, has no arXiv id",
    "curriculum/uopd": "code released without a paper",
    "filter/coverage": "DivOPD, fall 2026, has no arXiv id",
    "filter/outcomes": "nothing to cite",
    "filter/progress": "nothing to cite",
    "filter/staleness": "nothing to cite",
    "filter/truncated": "nothing to cite",
    "fusion/additive": "nothing to cite",
    "fusion/srpo": "named by others without an id",
    "fusion/tide": "TIDE, fall 2026, has no arXiv id",
    "step-weight/drop-stuck": "nothing to cite",
    "step-weight/uniform": "nothing to cite",
    "surrogate/importance-sampling": "the textbook's",
    "surrogate/reinforce": "the textbook's",
    "token-weight/role-weights": "nothing to cite",
    "token-weight/uniform": "nothing to cite",
}
"""Methods without an arXiv id, and why."""


def name(entry: Registration) -> str:
    return f"{entry.kind}/{entry.name}"


every = pytest.mark.parametrize("entry", ENTRIES, ids=name)


def test_the_pages_are_up_to_date():
    command = [sys.executable, str(ROOT / "scripts" / "make_reference_docs.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_registration_is_in_the_index():
    index = (PAGES / "README.md").read_text(encoding="utf-8")
    for entry in PluginRegistry.load(third_party=False).all():
        listed = method_pages.file_name(entry) if entry.kind in method_pages.PAGED else f"`{entry.name}`"
        assert listed in index, name(entry)


def test_every_kind_is_a_kind_with_pages_or_listed():
    assert set(method_pages.PAGED) <= set(KINDS)
    assert set(KINDS) - set(method_pages.PAGED) == {"environment", "benchmark", "model", "recipe", "command"}


@every
def test_a_plugin_has_a_page_and_a_summary_of_one_line(entry: Registration):
    assert (PAGES / method_pages.file_name(entry)).is_file()
    assert entry.summary and "\n" not in entry.summary and len(entry.summary) <= 110


@every
def test_every_option_is_described(entry: Registration):
    model = entry.config_class()
    assert set(field_descriptions(model)) == set(model.model_fields)


@every
def test_its_module_says_what_it_is(entry: Registration):
    module, _ = method_pages.documentation(entry)
    assert module.partition("\n")[0].endswith((".", ":")), module


@pytest.fixture(scope="module")
def every_proof():
    return proofs(ROOT)


@every
def test_some_test_uses_it(entry: Registration, every_proof):
    assert method_pages.tests_of(entry, every_proof)


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if entry.kind in METHODS], ids=name)
def test_a_method_says_where_it_comes_from(entry: Registration):
    cited = method_pages.papers(*method_pages.documentation(entry), entry.summary)
    assert cited or name(entry) in NO_PAPER


def test_every_method_without_a_paper_exists():
    assert set(NO_PAPER) <= {name(entry) for entry in ENTRIES}


def test_methods_are_no_longer_than_a_page():
    for entry in ENTRIES:
        if entry.kind in METHODS:
            path = ROOT / "plugins" / f"{entry.target.partition(':')[0].replace('.', '/')}.py"
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 150, path


def test_links_lead_somewhere():
    for page in sorted(PAGES.glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"
