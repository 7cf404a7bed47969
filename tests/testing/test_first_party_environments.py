"""Every environment of this repository keeps every rule; a new one is tested as soon as it has an entry point."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from agentdistill.plugins import PluginRegistry
from agentdistill.testing import RULES, assert_environment, source_of

ROOT = Path(__file__).resolve().parents[2]

SETTINGS: dict[str, dict[str, Any]] = {
    "alfworld": {"split": "generated-seen", "options": {"engine": "fast"}},
    "scienceworld": {"options": {"tasks": ["find-plant", "melt"]}},
    "textworld": {"options": {"train": 5}},
}
"""What is not the default: a split that needs no data, options that make a test quick.

A game of TextWorld takes three seconds to compile and a task of ScienceWorld some to load, and resets without a task
draw from all of them. Five games are one of each kind.
"""


def environments() -> list[str]:
    entries = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["agentdistill"]
    registry = PluginRegistry.load(third_party=False)
    registry.extend(sorted(entries.values()))
    return sorted({entry.name for entry in registry.all("environment")})


def test_there_are_environments():
    assert {"alfworld", "textarena"} <= set(environments())


@pytest.mark.slow
@pytest.mark.parametrize("name", environments())
def test_it_keeps_every_rule(name: str):
    entries = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["agentdistill"]
    settings = SETTINGS.get(name, {})
    source = source_of(name, settings.get("options"), sorted(entries.values()))
    split = settings.get("split", "train")
    # What environments share (a Java machine takes seconds to start) lives as long as one of them does.
    alive = source.make()
    try:
        alive.reset(options={"task": source.tasks(split)[0]})
        results = assert_environment(source, split, only=[rule for rule in RULES if rule != "leaks"])
    finally:
        alive.close()
    results += assert_environment(source, split, only=["leaks"])
    assert [result.name for result in results] == list(RULES)
    # An environment whose expert is never asked for success would pass without showing that it can be solved.
    (expert,) = [result for result in results if result.name == "expert"]
    assert expert.detail.startswith("succeeds in"), expert.detail
