"""REINFORCE with a baseline, or none: the plainest advantage there is.

    A_t = G_t - b        G_t: the episode's return, or the discounted reward-to-go sum_{k >= t} gamma^(k - t) r_k
                         b:   mean of G over the batch, over the task's episodes, or nothing
    whiten: A / (standard deviation of A over the batch + 1e-8)     (REINFORCE++, arXiv 2501.03262)

A batch baseline needs no groups: it works with one episode per task. The means are over the turns that are trained
for reward-to-go, and over episodes for returns. `baseline = "none"` leaves the reward itself: with the outcome as
reward, won episodes are imitated and lost ones ignored, which is what routing fusions expect of the won half.

Proofs: tests/advantages/test_reinforce.py (worked values of every combination, gamma 0 and 1, batches of one).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from agentdistill.records import LossRole
from agentdistill.training.rewarded import RewardedBatch
from agentdistill_advantages.groups import GROUPS, Floats, GroupConfig, discounted, groups, known, returns


class ReinforceConfig(GroupConfig):
    """Return and baseline.

    Attributes:
        returns: "total" gives every turn the episode's return, "to-go" what came after it.
        gamma: discount of the reward-to-go.
        baseline: mean over the "batch", over the "group" of the task's episodes, or "none".
        whiten: divide by the standard deviation over the batch.
        count_cut: compare episodes that the curriculum cut, too, with the rewards they had by then.
    """

    returns: Literal["total", "to-go"] = "total"
    gamma: float = Field(default=1.0, ge=0.0, le=1.0)
    baseline: Literal["batch", "group", "none"] = "batch"
    whiten: bool = False

    @model_validator(mode="after")
    def _discounts_what_is_to_come(self) -> ReinforceConfig:
        if self.returns == "total" and self.gamma != 1.0:
            raise ValueError('gamma discounts the reward-to-go; set returns = "to-go" or leave gamma at 1')
        return self


def reinforce(batch: RewardedBatch, config: ReinforceConfig) -> list[npt.NDArray[np.float32]]:
    """One float32 [steps] for each episode, see the module."""
    if config.returns == "total":
        value = [np.full(len(t.steps), r) for t, r in zip(batch.trajectories, returns(batch), strict=True)]
    else:
        value = [discounted(r, config.gamma) for r in batch.rewards]
    usable = known(batch, config.count_cut)
    everybody = [np.flatnonzero(usable)] if config.baseline == "batch" else []
    if config.baseline == "group":
        everybody = list(groups(batch, config.count_cut))
    for members in everybody:
        compared = _compared(batch, value, members, config)
        if len(compared):
            mean = compared[0] if np.ptp(compared) == 0 else compared.mean()
            for i in members:
                value[i] = value[i] - mean
    for i in np.flatnonzero(~usable):
        value[i] = np.zeros_like(value[i])
    if config.whiten:
        compared = _compared(batch, value, np.flatnonzero(usable), config)
        if len(compared) > 1:
            value = [v / (compared.std(ddof=1) + 1e-8) for v in value]
    return [v.astype(np.float32) for v in value]


reinforce.needs = lambda config: GROUPS if config.baseline == "group" else frozenset()  # type: ignore[attr-defined]


def _compared(
    batch: RewardedBatch, value: list[Floats], members: npt.NDArray[np.int64], config: ReinforceConfig
) -> Floats:
    """The numbers that a mean is over: one of each episode, or of each turn that is trained."""
    picked = []
    for i in members:
        trained = [k for k, step in enumerate(batch.trajectories[i].steps) if step.loss_role is LossRole.DISTILL]
        picked.append(value[i][trained][: 1 if config.returns == "total" else None])
    return np.concatenate([np.zeros(0), *picked])
