"""The panels on which WebShop results are reported."""

from __future__ import annotations

from agentdistill.errors import DataError
from agentdistill.records import Panel
from agentdistill_webshop.config import PanelConfig
from agentdistill_webshop.source import NAME, WebshopSource

_PUBLISHED = {"test": 500, "eval": 1000}
"""Goals of each split under the authors' protocol."""


def test_goals(source: WebshopSource, config: PanelConfig) -> Panel:
    """The goals that results are published on: 500 under the authors' protocol."""
    return _panel("test", source, config)


def eval_goals(source: WebshopSource, config: PanelConfig) -> Panel:
    """The goals for choosing settings: 1,000 under the authors' protocol."""
    return _panel("eval", source, config)


def _panel(split: str, source: WebshopSource, config: PanelConfig) -> Panel:
    """A split's goals, or its first `count`: they are shuffled already.

    Raises:
        DataError: the split has too few.
    """
    tasks = source.tasks(split)
    name, count = f"{NAME}/{split}", len(tasks)
    if config.count is not None:
        if config.count > count:
            raise DataError(
                f"The panel {name} cannot have {config.count} goals.", f"The split has {count}.", "Ask for fewer."
            )
        name, count = f"{name}[{config.count}]", config.count
    facts = {"unreachable": len(source.unreachable(split)), "published": _PUBLISHED[split]}
    return Panel(name, tasks[:count], {**source.provenance(), **facts})
