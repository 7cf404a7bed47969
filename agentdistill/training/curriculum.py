"""The curriculum contract: who plays which turn, from where, how deep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from agentdistill.records import EpisodePlan, Task


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands when an episode is planned.

    Attributes:
        step: optimiser steps done so far (0 for the first batch).
        total_steps: optimiser steps of the whole run.
        max_steps: the episode's step limit.
        demonstration: successful action list of a task, or None when there is none.
    """

    step: int
    total_steps: int
    max_steps: int
    demonstration: Callable[[Task], tuple[str, ...] | None]


class Curriculum(Protocol):
    """Shapes episodes as training goes on. Registered as a class, constructed with its config."""

    @property
    def needs(self) -> frozenset[str]:
        """Subset of {"demonstrations", "teacher", "expert"}: action lists, and who plays turns as a guide."""
        ...

    def plan(self, task: Task, progress: Progress) -> EpisodePlan:
        """Plans one training episode. Evaluation never asks: it is student-only at full depth."""
        ...

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Sees the metrics of each finished step."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict`."""
        ...
