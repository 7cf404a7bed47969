"""The temporal curricula of TCOD (arXiv 2604.24005): the student answers for a depth that grows with training.

The schedule is Eq. 4, k(n) = clamp(start + floor(n / every), start, maximum). What n counts: here n is the number of
optimiser steps done, so the first batch has n = 0 and `every` batches are played at each depth. The released code
counts batches from 1, which deepens every change by one batch earlier; `first = 1` reproduces it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from agentdistill.plugins import PluginConfig
from agentdistill.records import EpisodePlan, Task
from agentdistill.training.curriculum import Progress


class DepthConfig(PluginConfig):
    """A depth that grows linearly.

    Attributes:
        start: depth of the first batch, in turns (the paper's k_start).
        every: optimiser steps per extra turn of depth (the paper's eta: 2; its recipes use 4 to 6).
        maximum: largest depth; None is the episode's step limit.
        first: number of the first batch: 0, or 1 as the released code counts.
    """

    start: int = Field(default=1, ge=1)
    every: int = Field(default=2, ge=1)
    maximum: int | None = Field(default=None, ge=1)
    first: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> DepthConfig:
        if self.maximum is not None and self.start is not None and self.maximum < self.start:
            raise ValueError(f"maximum = {self.maximum} is below start = {self.start}")
        return self


def depth(step: int, start: int, every: int, maximum: int) -> int:
    """Eq. 4: min(start + floor(step / every), maximum), and never below 1."""
    return max(1, min(start + step // every, maximum))


class _Depth:
    """What both directions share: the schedule, and no state (it depends on the step number only)."""

    def __init__(self, config: DepthConfig) -> None:
        """Keeps the options."""
        self.config = config

    def depth(self, progress: Progress) -> int:
        """The depth k(n) of the batch being planned, in turns."""
        limit = progress.max_steps if self.config.maximum is None else min(self.config.maximum, progress.max_steps)
        return depth(progress.step + self.config.first, self.config.start, self.config.every, limit)

    def observe(self, metrics: Mapping[str, float]) -> None:
        """The schedule looks at nothing but the step number."""

    def state_dict(self) -> dict[str, Any]:
        """No state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """No state."""


class FrontToBack(_Depth):
    """F2B (Eq. 3): the student plays the first k turns, the episode is cut there, all played turns are trained.

    Success inside such a window says nothing about the task; the stop reason tells a cut episode from a finished one.
    """

    needs: frozenset[str] = frozenset()

    def plan(self, task: Task, progress: Progress) -> EpisodePlan:
        """Cuts at the depth; once it reaches the step limit, the plan is that of an ordinary episode."""
        k = self.depth(progress)
        horizon = None if k >= progress.max_steps else k
        return EpisodePlan(horizon=horizon, note={"depth": float(k)})


class BackToFront(_Depth):
    """B2F (Eq. 5): a successful demonstration of length L is replayed up to its last k actions; the student goes on.

    The student may use all steps that are left, not only k. A task without a demonstration is played from the start.
    A demonstration of one action leaves nothing to replay. One longer than the step limit is replayed at most so far
    that the student has a turn left. A prefix that itself ends the episode is the rollout's business: it yields an
    episode without trained turns.
    """

    needs: frozenset[str] = frozenset({"demonstrations"})

    def plan(self, task: Task, progress: Progress) -> EpisodePlan:
        """Replays the first L - min(k, L) actions of the task's demonstration."""
        k = self.depth(progress)
        demonstration = progress.demonstration(task)
        if not demonstration:
            return EpisodePlan(note={"depth": float(progress.max_steps), "demonstration": 0.0})
        # A schedule that has run its course leaves no prefix, also for demonstrations longer than the limit.
        length = len(demonstration)
        prefix = 0 if k >= progress.max_steps else min(length - min(k, length), progress.max_steps - 1)
        return EpisodePlan(
            prefix=tuple(demonstration[:prefix]),
            note={"depth": float(k), "demonstration": float(length), "prefix": float(prefix)},
        )
