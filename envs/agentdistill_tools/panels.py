"""The panels on which tool use is reported."""

from __future__ import annotations

from agentdistill.plugins import PluginConfig
from agentdistill.records import Panel
from agentdistill_tools.source import NAME, ToolsSource


def eval_panel(source: ToolsSource, config: PluginConfig) -> Panel:
    """Questions for choosing settings."""
    return _panel("eval", source)


def test_panel(source: ToolsSource, config: PluginConfig) -> Panel:
    """Questions for reporting."""
    return _panel("test", source)


def _panel(split: str, source: ToolsSource) -> Panel:
    return Panel(f"{NAME}/{split}", tuple(source.tasks(split)), source.provenance())
