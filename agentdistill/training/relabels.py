"""What a step learns from: the episodes as played, and beside them what guides wrote at the student's states."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from agentdistill.records import ScoreRequest, TeacherScores, Trajectory
from agentdistill.teachers.scoring import unscored

if TYPE_CHECKING:
    from agentdistill.learner.facts import BatchExtras

Learned = tuple[list[Trajectory], "list[list[TeacherScores]] | None", "BatchExtras | None"]


def with_relabels(
    trajectories: Sequence[Trajectory],
    scores: Sequence[Sequence[TeacherScores]] | None,
    extras: BatchExtras | None,
    relabels: Sequence[Trajectory],
) -> Learned:
    """Adds relabels to a batch on its way to the learner, and only there: no reward, filter or curriculum sees them.

    Args:
        trajectories: the episodes.
        scores: the teacher's, or None.
        extras: rewards, advantages and reference log-probabilities, or None.
        relabels: trajectories of `agentdistill.rollout.relabel`; nobody is asked about their tokens.

    Returns:
        Trajectories, scores and extras, parallel to one another.
    """
    opinions = None if scores is None else [list(s) for s in scores]
    if opinions is not None:
        opinions += [[unscored(row, ScoreRequest()) for row in t.rows] for t in relabels]
    if extras is not None and relabels:
        zeros = [np.zeros(len(t.steps), dtype=np.float32) for t in relabels]
        nobody = [[np.full(len(row), np.nan, dtype=np.float32) for row in t.rows] for t in relabels]
        extras = dataclasses.replace(
            extras,
            rewards=None if extras.rewards is None else [*extras.rewards, *zeros],
            advantages=None if extras.advantages is None else [*extras.advantages, *zeros],
            reference=None if extras.reference is None else [*extras.reference, *nobody],
        )
    return [*trajectories, *relabels], opinions, extras
