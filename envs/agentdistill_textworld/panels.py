"""The panels on which TextWorld results are reported. Their sizes are ours: TextWorld publishes no set of games."""

from __future__ import annotations

from agentdistill.errors import DataError
from agentdistill.records import Panel
from agentdistill_textworld.config import PanelConfig
from agentdistill_textworld.source import NAME, TextWorldSource


def test(source: TextWorldSource, config: PanelConfig) -> Panel:
    """Games of the split "test"."""
    return _panel("test", source, config)


def dev(source: TextWorldSource, config: PanelConfig) -> Panel:
    """Games of the split "dev"."""
    return _panel("dev", source, config)


def _panel(split: str, source: TextWorldSource, config: PanelConfig) -> Panel:
    """All games of a split, or its first `count`, which are of the configured kinds in turn.

    Raises:
        DataError: there are fewer than asked for.
    """
    tasks = tuple(source.tasks(split))
    name = f"{NAME}/{split}"
    if config.count is not None:
        if config.count > len(tasks):
            raise DataError(
                f"The panel {name} cannot have {config.count} games.",
                f"The split has {len(tasks)}.",
                f"Ask for fewer, or raise `{split}` in [env].",
            )
        tasks = tasks[: config.count]
        name = f"{name}[{config.count}]"
    return Panel(name, tasks, source.provenance())
