"""The panels on which TextWorld results are reported. Their sizes are ours: TextWorld publishes no set of games."""

from __future__ import annotations

from agentdistill.plugins import PluginConfig
from agentdistill.records import Panel
from agentdistill_textworld.source import NAME, TextWorldSource


def test(source: TextWorldSource, config: PluginConfig) -> Panel:
    """Games of the split "test"."""
    return _panel("test", source)


def dev(source: TextWorldSource, config: PluginConfig) -> Panel:
    """Games of the split "dev"."""
    return _panel("dev", source)


def _panel(split: str, source: TextWorldSource) -> Panel:
    return Panel(f"{NAME}/{split}", tuple(source.tasks(split)), source.provenance())
