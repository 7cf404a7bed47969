"""What several curricula draw and remember: a number from a seed, a task as a string."""

from __future__ import annotations

from agentdistill.hashing import digest
from agentdistill.records import Task


def uniform(*parts: object) -> float:
    """A number in [0, 1) that depends on its arguments alone."""
    return int(digest(list(parts))[:13], 16) / 16**13


def name_of(task: Task) -> str:
    """A task as one string, for states that are JSON."""
    return f"{task.env}/{task.split}/{task.key}"
