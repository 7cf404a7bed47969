"""A cap on the turns of one episode (DivOPD's coverage cap): many episodes, a little of each.

Without it one long episode can own a batch: in DivOPD's measurements a single rollout held 24% to 40% of the tokens of
an update, and a batch of 64 turns came from 4 to 8 rollouts. At most `turns` turns of each episode are kept, by rank:

    s(turn) = sum_j (log pi_old - log pi_T)      largest first: where the student is sure of what the teacher is not

The turns that are kept stay in their episode; only what is trained changes. Turns without a single usable score are
not kept (the paper's validity gate). Imitated turns are not counted and always kept.

DivOPD draws its rows from a queue of pending turns of several batches; here a batch is what one step played, so use
more `rollout.tasks_per_step` instead.

Defaults: 4 turns (the paper's 4 to 5), by gap. `rank = "first"` and "last" keep the earliest or latest turns.
Proofs: tests/filters/test_coverage.py (the ranking against sums by hand, ties keep the earlier turn, dead turns, short
episodes untouched, no scores is an error).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from agentdistill.errors import TrainingError
from agentdistill.plugins import PluginConfig
from agentdistill.records import TeacherScores, Trajectory
from agentdistill.training.rewarded import ScoredBatch
from agentdistill_filters.keep import Keep, everything, own


class CoverageConfig(PluginConfig):
    """The cap.

    Attributes:
        turns: most turns of an episode that are trained.
        rank: which ones: "gap", the largest sum of log pi_old - log pi_T, or the "first" or "last" ones.
    """

    turns: int = Field(default=4, ge=1)
    rank: Literal["gap", "first", "last"] = "gap"


def coverage(batch: ScoredBatch, config: CoverageConfig) -> Keep:
    """Which turns are kept, see the module.

    Raises:
        TrainingError: turns are to be ranked by a gap to a teacher who scored nothing.
    """
    kept = everything(batch)
    if config.rank == "gap" and batch.scores is None:
        raise TrainingError(
            'The filter "coverage" ranks turns by their gap to the teacher, and nothing was scored.',
            "",
            'Give the run a teacher, or set rank = "first" or "last".',
        )
    for number, trajectory in enumerate(batch.trajectories):
        places = own(trajectory)
        if config.rank == "gap" and batch.scores is not None:
            gaps = {k: _gap(trajectory, k, batch.scores[number]) for k in places}
            ranked = sorted((k for k in places if gaps[k] is not None), key=lambda k: (-(gaps[k] or 0.0), k))
        else:
            ranked = places if config.rank == "first" else places[::-1]
        kept[number][places] = False
        kept[number][ranked[: config.turns]] = True
    return kept


coverage.needs = lambda config: frozenset({"scores"} if config.rank == "gap" else ())  # type: ignore[attr-defined]


def _gap(trajectory: Trajectory, place: int, scores: Sequence[TeacherScores]) -> float | None:
    """sum_j (log pi_old - log pi_T) of a turn, or None without a usable token."""
    step = trajectory.steps[place]
    if step.row < 0:
        return None
    row, opinion = trajectory.rows[step.row], scores[step.row]
    usable = (row.step_of_token == step.index) & row.mask & opinion.valid & np.isfinite(opinion.sampled_logprob)
    if not usable.any():
        return None
    return float((row.old_logprob[usable].astype(np.float64) - opinion.sampled_logprob[usable]).sum())
