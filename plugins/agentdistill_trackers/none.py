"""The tracker that keeps nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentdistill.plugins import PluginConfig


class NullTracker:
    """For runs whose metrics nobody will look at.

    Args:
        config: no options.
        directory: the run directory; nothing is written there.
    """

    def __init__(self, config: PluginConfig, directory: Path) -> None:
        self.directory = directory

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Forgets the metrics."""

    def truncate(self, step: int) -> None:
        """Has nothing to forget."""

    def close(self) -> None:
        """Has nothing to close."""
