"""No curriculum: the student plays every episode from the start to the end, which is plain on-policy distillation.

Every other curriculum is compared with this one. Proof tests: tests/curricula/test_depth.py and test_guided.py (the
others become it at the end of their schedules).
"""

from __future__ import annotations

from agentdistill.plugins import PluginConfig
from agentdistill.records import EpisodePlan, Task
from agentdistill.training.curriculum import CurriculumBase, Progress


class Full(CurriculumBase):
    """Plain on-policy distillation."""

    def __init__(self, config: PluginConfig) -> None:
        """Takes no options."""

    def plan(self, task: Task, progress: Progress) -> EpisodePlan:
        """The whole episode."""
        return EpisodePlan()
