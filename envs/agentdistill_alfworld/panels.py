"""The panels on which ALFWorld results are reported."""

from __future__ import annotations

from agentdistill.errors import DataError
from agentdistill.records import Panel
from agentdistill_alfworld.config import PanelConfig
from agentdistill_alfworld.games import GENERATED
from agentdistill_alfworld.source import NAME, AlfworldSource


def valid_seen(source: AlfworldSource, config: PanelConfig) -> Panel:
    """The published in-distribution games."""
    return _panel("valid_seen", source, config)


def valid_unseen(source: AlfworldSource, config: PanelConfig) -> Panel:
    """The published out-of-distribution games."""
    return _panel("valid_unseen", source, config)


def valid_train(source: AlfworldSource, config: PanelConfig) -> Panel:
    """Real games outside the published evaluation splits."""
    return _panel("valid_train", source, config)


def generated_seen(source: AlfworldSource, config: PanelConfig) -> Panel:
    """Generated games in rooms that training uses."""
    return _panel("generated-seen", source, config)


def generated_unseen(source: AlfworldSource, config: PanelConfig) -> Panel:
    """Generated games in rooms that training never uses."""
    return _panel("generated-unseen", source, config)


def _panel(split: str, source: AlfworldSource, config: PanelConfig) -> Panel:
    """All games of a split, or `count` of them with the task types in proportion.

    Real games are sorted by type, so they are taken at even distances; generated ones take turns, so the first are.

    Raises:
        DataError: the split's data is missing, or it has fewer games than asked for.
    """
    tasks = tuple(source.tasks(split))
    name = f"{NAME}/{split}"
    if config.count is not None:
        if config.count > len(tasks):
            raise DataError(
                f"The panel {name} cannot have {config.count} games.",
                f"The split has {len(tasks)}.",
                "Ask for fewer, or raise the number of generated games in [env.generated].",
            )
        made = split in GENERATED
        tasks = tuple(tasks[i if made else i * len(tasks) // config.count] for i in range(config.count))
        name = f"{name}[{config.count}]"
    facts = {} if split in GENERATED else {"published_steps": [30, 50]}
    return Panel(name, tasks, {**source.split(split).provenance(), **facts})
