"""Drops turns that the teacher has no opinion on, so that its silence is no fault of the run.

A teacher may have nothing to say on purpose: a privileged view without a hint for an episode, a router without a member
for a task. Such tokens are never trained, with or without this filter; but the learner counts rows without scores and
stops at `optim.max_dead_rows`, or when a batch has none at all. With this filter, turns without scores are no longer
asked for, and a batch without any is passed over (`batch/empty`).

Do not use it to hide a teacher that fails: an outage has its own policy.
Source: SDPO's self-distillation mask (arXiv 2601.20802), which is one per episode; here it is one per turn. No options.
Proofs: tests/filters/test_scored.py (turns with and without scores, in part, in several rows;
without a teacher it keeps everything).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agentdistill.plugins import PluginConfig
from agentdistill.records import TeacherScores, Trajectory
from agentdistill.training.rewarded import ScoredBatch
from agentdistill_filters.keep import Keep


class ScoredConfig(PluginConfig):
    """It takes no options."""


def scored(batch: ScoredBatch, config: ScoredConfig) -> Keep:
    """Turns with at least one score; those without tokens stay as they are."""
    if batch.scores is None:
        return [np.ones(len(t.steps), dtype=bool) for t in batch.trajectories]
    return [_kept(t, own) for t, own in zip(batch.trajectories, batch.scores, strict=True)]


def _kept(trajectory: Trajectory, scores: Sequence[TeacherScores]) -> np.ndarray:
    return np.array(
        [step.row < 0 or bool(scores[step.row].valid[step.start : step.end].any()) for step in trajectory.steps],
        dtype=bool,
    )
