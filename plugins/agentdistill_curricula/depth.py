"""The temporal curricula of TCOD (arXiv 2604.24005): the student answers for a depth that grows with training.

The divergence between student and teacher grows with the turn: early in training, late turns are played in states that
the teacher knows nothing about. Here the student is responsible for few turns first, and for one more every few steps.

Formula (Eq. 4), with n the number of optimiser steps done:

    k(n) = clamp(start + floor(n / every), start, maximum)

Defaults: start 1 and every 2 (the paper's; its recipes use 4 to 6), up to the episode's step limit.

Differences: the released code counts batches from 1, which deepens every change by one batch earlier; `first = 1`
reproduces it. Its prompts lost the goal in some turns, and it took every ended episode for a won one; here the goal is
in every prompt and the environment says what was won. The paper writes the divergence from teacher to student and its
code trains the sampled one from student to teacher: what is trained is the run's loss, not the curriculum's business.

Proof tests: tests/curricula/test_depth.py (the schedule never falls and ends at the limit, prefix and depth make up the
demonstration at every step, both directions end as plain episodes), tests/rollout/test_replayed_demonstrations.py
(what is replayed shows what was recorded, and is never trained).
"""

from __future__ import annotations

from pydantic import Field, model_validator

from agentdistill.plugins import PluginConfig
from agentdistill.records import EpisodePlan, Task
from agentdistill.training.curriculum import CurriculumBase, Progress


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


class _Depth(CurriculumBase):
    """What both directions share: the schedule, and no state (it depends on the step number only)."""

    def __init__(self, config: DepthConfig) -> None:
        """Keeps the options."""
        self.config = config

    def depth(self, progress: Progress) -> int:
        """The depth k(n) of the batch being planned, in turns."""
        limit = progress.max_steps if self.config.maximum is None else min(self.config.maximum, progress.max_steps)
        return depth(progress.step + self.config.first, self.config.start, self.config.every, limit)


class FrontToBack(_Depth):
    """F2B (Eq. 3): the student plays the first k turns, the episode is cut there, all played turns are trained.

    Success inside such a window says nothing about the task; the stop reason tells a cut episode from a finished one.
    """

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

    needs = frozenset({"demonstrations"})

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
