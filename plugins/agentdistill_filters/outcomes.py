"""Drops tasks that tell an RL advantage nothing: those won by all of their episodes, or by none.

DAPO's dynamic sampling (arXiv 2503.14476) without the resampling: the batch becomes smaller, it is not refilled. A
distillation loss does learn from such tasks, so drop only what the run has no use for: all-won tasks where the teacher
has nothing to add, all-lost tasks where its opinion is not trusted.

A task of one episode is all won or all lost by itself; `smallest` says from how many episodes on a verdict counts.
Episodes that the curriculum cut have no outcome: they are neither won nor lost, and a task with one of them is kept.

Defaults: both are dropped, from 2 episodes on.
Proofs: tests/filters/test_episodes.py (all four kinds of groups, groups of one, cut episodes).
"""

from __future__ import annotations

import numpy as np
from pydantic import Field, model_validator

from agentdistill.plugins import PluginConfig
from agentdistill.training.rewarded import ScoredBatch
from agentdistill_filters.keep import Keep, episodes


class OutcomesConfig(PluginConfig):
    """What is dropped.

    Attributes:
        all_won: drop tasks that all episodes won.
        all_lost: drop tasks that no episode won.
        smallest: episodes that a task must have to be judged.
    """

    all_won: bool = True
    all_lost: bool = True
    smallest: int = Field(default=2, ge=1)

    @model_validator(mode="after")
    def _something(self) -> OutcomesConfig:
        if not (self.all_won or self.all_lost):
            raise ValueError("all_won = false and all_lost = false drop nothing: leave the filter out")
        return self


def outcomes(batch: ScoredBatch, config: OutcomesConfig) -> Keep:
    """Episodes of tasks that are neither, see the module."""
    won = np.array([t.success for t in batch.trajectories], dtype=bool)
    cut = np.array([t.cut for t in batch.trajectories], dtype=bool)
    kept = np.ones(len(won), dtype=bool)
    for number in np.unique(batch.group):
        members = np.flatnonzero(batch.group == number)
        if len(members) < config.smallest or cut[members].any():
            continue
        if (config.all_won and won[members].all()) or (config.all_lost and not won[members].any()):
            kept[members] = False
    return episodes(batch, kept.tolist())
