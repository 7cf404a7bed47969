"""Demonstrations that a teacher scores: for losses that imitate and hold the student near somebody at the same time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from agentdistill.records import LossRole, ScoreRequest, TeacherScores, Trajectory
from agentdistill.training.batches import Batch, SupervisedBatches

if TYPE_CHECKING:
    from agentdistill.teachers.base import Teacher


def compares_demonstrations(loss: object) -> bool:
    """Whether a loss compares demonstrated tokens with a teacher's (its attribute of this name)."""
    return bool(getattr(loss, "compares_demonstrations", False))


@dataclass(slots=True)
class ComparedBatches(SupervisedBatches):
    """Demonstrations in a fresh order every epoch, each token with a teacher's opinion.

    To the learner the demonstrated tokens are tokens to distil. Nobody sampled them; where a behaviour policy is asked
    for, the teacher stands in for it, so that every ratio to it begins at that to the teacher.

    Attributes:
        teacher: scores the rows, before each step.
        request: what to ask of it.
    """

    teacher: Teacher
    request: ScoreRequest

    def batch(self, step: int) -> Batch:
        """The demonstrations of a step, scored."""
        plain = SupervisedBatches.batch(self, step)
        scores = self.teacher.score(plain.trajectories, self.request)
        compared = [as_distilled(t, own) for t, own in zip(plain.trajectories, scores, strict=True)]
        return Batch(compared, scores, plain.metrics)


def as_distilled(trajectory: Trajectory, scores: Sequence[TeacherScores]) -> Trajectory:
    """A demonstration whose imitated turns are to be distilled instead; the given one is not changed."""
    imitated = {step.index for step in trajectory.steps if step.loss_role is LossRole.IMITATE}
    steps = [
        dataclasses.replace(step, loss_role=LossRole.DISTILL) if step.index in imitated else step
        for step in trajectory.steps
    ]
    rows = []
    for row, opinion in zip(trajectory.rows, scores, strict=True):
        mask = np.isin(row.step_of_token, sorted(imitated)) & opinion.valid
        old = np.where(mask, opinion.sampled_logprob, np.float32(np.nan)).astype(np.float32)
        rows.append(dataclasses.replace(row, mask=mask, old_logprob=old))
    return dataclasses.replace(trajectory, steps=steps, rows=rows)
