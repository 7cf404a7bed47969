"""What the filters share."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from agentdistill.records import LossRole, Trajectory
from agentdistill.training.rewarded import ScoredBatch

Keep = list[npt.NDArray[np.bool_]]
"""For each trajectory a bool [steps]: which turns may be trained."""


def everything(batch: ScoredBatch) -> Keep:
    """Every turn of every episode."""
    return [np.ones(len(t.steps), dtype=bool) for t in batch.trajectories]


def episodes(batch: ScoredBatch, kept: Iterable[bool]) -> Keep:
    """Whole episodes, or nothing of them."""
    return [np.full(len(t.steps), keep, dtype=bool) for t, keep in zip(batch.trajectories, kept, strict=True)]


def own(trajectory: Trajectory) -> list[int]:
    """Places (in `steps`) of the turns that the student played and that are distilled."""
    return [k for k, step in enumerate(trajectory.steps) if step.loss_role is LossRole.DISTILL]
