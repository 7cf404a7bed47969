"""The panels on which ScienceWorld results are reported."""

from __future__ import annotations

from agentdistill.errors import DataError
from agentdistill.records import Panel, Task
from agentdistill_scienceworld.config import PanelConfig
from agentdistill_scienceworld.source import NAME, ScienceWorldSource

_FIRST = 10
_PUBLISHED = {"test": 1819, "dev": 1796}
"""Variations in the published splits."""


def test(source: ScienceWorldSource, config: PanelConfig) -> Panel:
    """The published test variations."""
    return _panel("test", source, config, source.tasks("test"))


def dev(source: ScienceWorldSource, config: PanelConfig) -> Panel:
    """The published development variations."""
    return _panel("dev", source, config, source.tasks("dev"))


def test_10(source: ScienceWorldSource, config: PanelConfig) -> Panel:
    """The first ten test variations of each task, or as many as there are: every task counts about the same."""
    taken: dict[str, int] = {}
    tasks = []
    for task in source.tasks("test"):
        taken[task.type] = taken.get(task.type, 0) + 1
        if taken[task.type] <= _FIRST:
            tasks.append(task)
    return _panel("test-10", source, config, tasks)


def _panel(label: str, source: ScienceWorldSource, config: PanelConfig, tasks: list[Task] | tuple[Task, ...]) -> Panel:
    """All tasks, or `count` of them at even distances.

    Raises:
        DataError: there are fewer than asked for.
    """
    name = f"{NAME}/{label}"
    if config.count is not None:
        if config.count > len(tasks):
            raise DataError(
                f"The panel {name} cannot have {config.count} variations.", f"It has {len(tasks)}.", "Ask for fewer."
            )
        tasks = [tasks[index * len(tasks) // config.count] for index in range(config.count)]
        name = f"{name}[{config.count}]"
    return Panel(name, tuple(tasks), {**source.provenance(), "published": _PUBLISHED.get(label)})
