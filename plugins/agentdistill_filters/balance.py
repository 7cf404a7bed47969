"""As many won as lost episodes of each task: Uni-OPD's online balance (arXiv 2605.03677), 1 to 1.

Distilling mostly failures teaches recovering, mostly successes teaches nothing new; a task with both learns from as
many of each. The excess of the larger class is dropped, the later samples first, so that the choice is the same in
every run. Tasks with one class only are left as they are (there is nothing to balance), and so are episodes that the
curriculum cut, which have no outcome.

Differences: the paper masks the excess of its online batch, as here, and besides repeats the prompts that 1 to 7 of 8
attempts solve; which tasks are played is not a filter's business.

Defaults: ratio 1. Proofs: tests/filters/test_episodes.py (counts on both sides, the ratio, one class, cut episodes).
"""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from agentdistill.plugins import PluginConfig
from agentdistill.training.rewarded import ScoredBatch
from agentdistill_filters.keep import Keep, episodes


class BalanceConfig(PluginConfig):
    """How unequal the classes may be.

    Attributes:
        ratio: episodes of the larger class for each one of the smaller, rounded up.
    """

    ratio: float = Field(default=1.0, ge=1.0, allow_inf_nan=False)


def balance(batch: ScoredBatch, config: BalanceConfig) -> Keep:
    """The balanced episodes, see the module."""
    won = np.array([t.success for t in batch.trajectories], dtype=bool)
    cut = np.array([t.cut for t in batch.trajectories], dtype=bool)
    kept = np.ones(len(won), dtype=bool)
    for number in np.unique(batch.group):
        members = (batch.group == number) & ~cut
        classes = [np.flatnonzero(members & won), np.flatnonzero(members & ~won)]
        fewest = min(len(c) for c in classes)
        if fewest:
            for one in classes:
                kept[one[math.ceil(config.ratio * fewest) :]] = False
    return episodes(batch, kept.tolist())
