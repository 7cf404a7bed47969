"""GRPO (arXiv 2402.03300): an episode is as good as its return, compared with the other episodes of its task.

    A_i = (R_i - mean R) / (std R + epsilon)          every turn of episode i has it; without std: A_i = R_i - mean R

The standard deviation makes tasks of rare success count as much as others, and a task's few lucky wins a great deal;
without it (Dr. GRPO, arXiv 2503.20783) a task counts by how undecided it is. The sample standard deviation is used,
as in the released trainers; the paper does not say.

A task with one episode, or whose episodes all have the same return, says nothing: its advantages are exactly 0
(the run reports the share of such groups). Needs `rollout.samples_per_task` above 1.

Defaults: with std, epsilon 1e-6.
Proofs: tests/advantages/test_grpo.py (worked values, shift and scale invariance, equal returns and groups of one give
exactly 0, sum 0 in each group).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import Field

from agentdistill.training.rewarded import RewardedBatch
from agentdistill_advantages.groups import GROUPS, GroupConfig, groups, returns, spread, standardised


class GrpoConfig(GroupConfig):
    """The normalisation.

    Attributes:
        std: divide by the standard deviation of the group's returns.
        epsilon: added to it.
        count_cut: compare episodes that the curriculum cut, too, with the rewards they had by then.
    """

    std: bool = True
    epsilon: float = Field(default=1e-6, gt=0.0)


def grpo(batch: RewardedBatch, config: GrpoConfig) -> list[npt.NDArray[np.float32]]:
    """One float32 [steps] for each episode, see the module."""
    total = returns(batch)
    advantage = np.zeros_like(total)
    for members in groups(batch, config.count_cut):
        advantage[members] = standardised(total[members], config.std, config.epsilon)
    return spread(batch, advantage)


grpo.needs = GROUPS  # type: ignore[attr-defined]
