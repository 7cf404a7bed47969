"""No curriculum: the student plays every episode from the start to the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentdistill.plugins import PluginConfig
from agentdistill.records import EpisodePlan, Task
from agentdistill.training.curriculum import Progress


class Full:
    """Plain on-policy distillation."""

    needs: frozenset[str] = frozenset()

    def __init__(self, config: PluginConfig) -> None:
        """Takes no options."""

    def plan(self, task: Task, progress: Progress) -> EpisodePlan:
        """The whole episode."""
        return EpisodePlan()

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Nothing to see."""

    def state_dict(self) -> dict[str, Any]:
        """No state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """No state."""
