"""The panels on which tool use is reported."""

from __future__ import annotations

from agentdistill.errors import DataError
from agentdistill.records import Panel
from agentdistill_tools.config import PanelConfig
from agentdistill_tools.source import NAME, ToolsSource


def eval_panel(source: ToolsSource, config: PanelConfig) -> Panel:
    """Questions for choosing settings."""
    return _panel("eval", source, config)


def test_panel(source: ToolsSource, config: PanelConfig) -> Panel:
    """Questions for reporting."""
    return _panel("test", source, config)


def _panel(split: str, source: ToolsSource, config: PanelConfig) -> Panel:
    tasks = tuple(source.tasks(split))
    name = f"{NAME}/{split}"
    if config.count is not None:
        if config.count > len(tasks):
            raise DataError(
                f"The panel {name} cannot have {config.count} questions.",
                f"The split has {len(tasks)}.",
                f"Ask for fewer, or raise env.sizes.{split}.",
            )
        tasks, name = tasks[: config.count], f"{name}[{config.count}]"
    return Panel(name, tasks, source.provenance())
