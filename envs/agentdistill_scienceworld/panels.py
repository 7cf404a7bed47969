"""The panels on which ScienceWorld results are reported."""

from __future__ import annotations

from collections.abc import Sequence

from agentdistill.plugins import PluginConfig
from agentdistill.records import Panel, Task
from agentdistill_scienceworld.source import NAME, ScienceWorldSource

_FIRST = 10
_PUBLISHED = {"test": 1819, "dev": 1796}
"""Variations in the published splits."""


def test(source: ScienceWorldSource, config: PluginConfig) -> Panel:
    """The published test variations."""
    return _panel("test", source, source.tasks("test"))


def dev(source: ScienceWorldSource, config: PluginConfig) -> Panel:
    """The published development variations."""
    return _panel("dev", source, source.tasks("dev"))


def test_10(source: ScienceWorldSource, config: PluginConfig) -> Panel:
    """The first ten test variations of each task, or as many as there are: every task counts about the same."""
    taken: dict[str, int] = {}
    tasks = []
    for task in source.tasks("test"):
        taken[task.type] = taken.get(task.type, 0) + 1
        if taken[task.type] <= _FIRST:
            tasks.append(task)
    return _panel("test-10", source, tasks)


def _panel(label: str, source: ScienceWorldSource, tasks: Sequence[Task]) -> Panel:
    return Panel(f"{NAME}/{label}", tuple(tasks), {**source.provenance(), "published": _PUBLISHED.get(label)})
