"""The panels on which WebShop results are reported."""

from __future__ import annotations

from agentdistill.plugins import PluginConfig
from agentdistill.records import Panel
from agentdistill_webshop.source import NAME, WebshopSource

_PUBLISHED = {"test": 500, "eval": 1000}
"""Goals of each split under the authors' protocol."""


def test_goals(source: WebshopSource, config: PluginConfig) -> Panel:
    """The goals that results are published on: 500 under the authors' protocol."""
    return _panel("test", source)


def eval_goals(source: WebshopSource, config: PluginConfig) -> Panel:
    """The goals for choosing settings: 1,000 under the authors' protocol."""
    return _panel("eval", source)


def _panel(split: str, source: WebshopSource) -> Panel:
    """A split's goals.

    Raises:
        DataError: the split has too few.
    """
    facts = {"unreachable": len(source.unreachable(split)), "published": _PUBLISHED[split]}
    return Panel(f"{NAME}/{split}", tuple(source.tasks(split)), {**source.provenance(), **facts})
