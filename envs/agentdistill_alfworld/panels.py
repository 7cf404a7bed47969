"""The panels on which ALFWorld results are reported."""

from __future__ import annotations

from agentdistill.plugins import PluginConfig
from agentdistill.records import Panel
from agentdistill_alfworld.games import GENERATED
from agentdistill_alfworld.source import NAME, AlfworldSource


def valid_seen(source: AlfworldSource, config: PluginConfig) -> Panel:
    """The published in-distribution games."""
    return _panel("valid_seen", source)


def valid_unseen(source: AlfworldSource, config: PluginConfig) -> Panel:
    """The published out-of-distribution games."""
    return _panel("valid_unseen", source)


def valid_train(source: AlfworldSource, config: PluginConfig) -> Panel:
    """Real games outside the published evaluation splits."""
    return _panel("valid_train", source)


def generated_seen(source: AlfworldSource, config: PluginConfig) -> Panel:
    """Generated games in rooms that training uses."""
    return _panel("generated-seen", source)


def generated_unseen(source: AlfworldSource, config: PluginConfig) -> Panel:
    """Generated games in rooms that training never uses."""
    return _panel("generated-unseen", source)


def _panel(split: str, source: AlfworldSource) -> Panel:
    """All games of a split.

    Raises:
        DataError: the split's data is missing.
    """
    facts = {} if split in GENERATED else {"published_steps": [30, 50]}
    return Panel(f"{NAME}/{split}", tuple(source.tasks(split)), {**source.split(split).provenance(), **facts})
