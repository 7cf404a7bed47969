"""The reference pages say what the code says."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

from agentdistill.config.schema import RunConfig
from agentdistill.plugins import PluginRegistry, hookspecs
from agentdistill.plugins.check import check_plugins
from agentdistill.plugins.kinds import KINDS
from agentdistill.plugins.loader import HOOKS, PREFIX
from agentdistill.training.events import EVENTS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")


def test_every_hook_is_documented_with_its_arguments():
    documented = dict(re.findall(rf"`({PREFIX}\w+)\((\w+)", PAGE))
    for name in HOOKS:
        (argument,) = inspect.signature(getattr(hookspecs, name)).parameters
        assert documented.get(name) == argument, name


def test_every_hook_is_a_kind_or_an_event():
    assert sorted([kind.hook for kind in KINDS.values()] + [event.hook for event in EVENTS]) == sorted(HOOKS)


def test_every_section_is_documented():
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    for name in RunConfig.model_fields:
        assert f"### [{name}]" in page


def test_the_example_of_the_page_passes_the_kit(tmp_path, monkeypatch):
    (example,) = re.findall(r"```python\n# my_weights\.py\n(.*?)```", PAGE, re.S)
    (tmp_path / "my_weights.py").write_text(example)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    findings = check_plugins(PluginRegistry.load(modules=["my_weights"]), ["my_weights"])
    sys.modules.pop("my_weights")
    rest = [finding.message for finding in findings if finding.level != "ok"]
    # A method in one file pays for its brevity, and the kit says so.
    assert len(rest) == 1 and rest[0].startswith("importing `my_weights` imports `torch`"), rest
