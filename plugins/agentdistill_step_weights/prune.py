"""Prune-OPD's drift weight, at turn level (arXiv 2605.07804): a turn that lost the teacher makes later ones count less.

Student and teacher still talk about the same thing while their most likely tokens overlap. A turn whose mean top-k
overlap is below a threshold is a bad one, and the weight falls with the number of bad turns so far, this one included:

    O_k = mean over the turn's tokens of |top-k_S and top-k_T| / k
    C_k = number of turns u <= k with O_u < threshold
    w_k = clip(1 - penalty C_k, 0, 1) + floor

Branch `kd`. Needs `overlap`. Drift does not heal: a good turn after a bad one keeps the lower weight.

The paper counts bad tokens of one long answer (penalty 0.01, k = 16, threshold 0.7, floor 0.5) and also adapts the
length of the next rollout. This is the port to turns: the rule is the same, the penalty of 0.1 is ours and spends the
whole range in ten bad turns, and depth is left to the curriculum.

Proofs: tests/weights/test_step_methods.py (non-increasing within a trajectory, range, no bad turn gives 1 + floor,
the count, unknown overlap is never taken for agreement, a loop over turns).
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from agentdistill.learner.statistics import StepStatistics, requires
from agentdistill.plugins import PluginConfig


class PruneConfig(PluginConfig):
    """Weights by the number of turns that lost the teacher.

    Attributes:
        threshold: a turn with less mean overlap than this is a bad one.
        penalty: what a bad turn takes from its own weight and all later ones (ours; the paper's 0.01 is per token).
        floor: added to the remaining reliability, so that it is also the smallest weight.
    """

    threshold: float = Field(default=0.7, ge=0.0, le=1.0)
    penalty: float = Field(default=0.1, ge=0.0, allow_inf_nan=False)
    floor: float = Field(default=0.5, ge=0.0, allow_inf_nan=False)


@requires("overlap")
def prune(steps: StepStatistics, config: PruneConfig) -> Tensor:
    """Weighs turns by how many have lost the teacher so far.

    Args:
        steps: step statistics.
        config: the options.

    Returns:
        float32 [trajectories, steps], in [floor, 1 + floor]; NaN, which the core refuses, where the overlap of a turn
        is unknown.
    """
    bad = (steps.overlap < config.threshold) & steps.mask
    reliability = (1.0 - config.penalty * bad.cumsum(dim=1).double()).clamp(0.0, 1.0)
    return torch.where(steps.overlap.isnan(), torch.nan, reliability + config.floor).float()
