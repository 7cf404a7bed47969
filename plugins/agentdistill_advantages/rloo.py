"""RLOO (arXiv 2402.14740): the baseline of an episode is the mean return of the others of its task.

    A_i = R_i - 1/(G - 1) sum_{j != i} R_j  =  G / (G - 1) (R_i - mean R)

Unlike GRPO's mean, this baseline does not depend on the episode it is for: the gradient is unbiased. A task with one
episode has no others: its advantage is 0.

Proofs: tests/advantages/test_grpo.py (worked values, G / (G - 1) times GRPO without std, groups of one, equal returns).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agentdistill.training.rewarded import RewardedBatch
from agentdistill_advantages.groups import GROUPS, GroupConfig, groups, returns, spread, standardised


class RlooConfig(GroupConfig):
    """Takes no options of its own.

    Attributes:
        count_cut: compare episodes that the curriculum cut, too, with the rewards they had by then.
    """


def rloo(batch: RewardedBatch, config: RlooConfig) -> list[npt.NDArray[np.float32]]:
    """One float32 [steps] for each episode, see the module."""
    total = returns(batch)
    advantage = np.zeros_like(total)
    for members in groups(batch, config.count_cut):
        size = len(members)
        if size > 1:
            advantage[members] = standardised(total[members], False, 0.0) * size / (size - 1)
    return spread(batch, advantage)


rloo.needs = GROUPS  # type: ignore[attr-defined]
