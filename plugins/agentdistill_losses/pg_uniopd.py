"""Uni-OPD's margin calibration (arXiv 2605.03677): a won episode must look better to the teacher than a lost one.

    Delta_t = log pi_T - log pi_old,   G_i = mean_t Delta_t over episode i
    m = stat(G of the task's won episodes) - stat(G of its lost ones)
    where m < delta, with lambda = delta - m:
        both: won tokens + lambda / 2, lost tokens - lambda / 2;   up: won + lambda;   down: lost - lambda

The teacher's opinion of an episode need not agree with its outcome; where it does not, the shift makes it agree by
exactly the margin and leaves everything between the tokens of an episode as it was. Tasks that all episodes won, or
none, have no margin and are untouched, and so are episodes that the curriculum cut: nobody knows whether they would
have been won. A run with one episode of each task is refused.

stat is the mean, or "worst": the least of the won against the greatest of the lost, after which every won episode is
above every lost one. At teacher = student every margin is 0 and below delta: the advantage is not zero there, won and
lost episodes are still told apart. The paper balances won and lost episodes 1 to 1 as well: that is the filter
"balance".

Defaults: mean, both, delta 0.4 (the paper's text; the released default is 0.1, and 0 for images).
Proofs: tests/losses/test_pg_uniopd.py (margin at least delta after the shift, exactly delta where it was less; delta
far below any margin is "opd" exactly; one-class tasks and groups of one untouched; the three sides).
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from agentdistill.learner.losses import Objective, PolicyGradient
from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginConfig
from agentdistill.records import ScoreRequest


class UniOpdConfig(PluginConfig):
    """The margin.

    Attributes:
        margin: delta, nats per token.
        side: who is shifted.
        statistic: how the classes are compared, by their "mean" or by the "worst" pair.
        advantage_clip: advantages are clipped to +- this.
    """

    margin: float = Field(default=0.4, allow_inf_nan=False)
    side: Literal["both", "up", "down"] = "both"
    statistic: Literal["mean", "worst"] = "mean"
    advantage_clip: float = Field(default=20.0, gt=0.0)


class UniOpdLoss:
    """See `UniOpdConfig`."""

    needs = frozenset({"groups"})
    rests_at_teacher = False
    request = ScoreRequest(sampled=True)

    def __init__(self, config: UniOpdConfig) -> None:
        self.config = config

    def advantage(self, tokens: TokenStatistics) -> Tensor:
        """The calibrated log-ratio of each token, [N]."""
        gap = tokens.teacher_logprob - tokens.old_logprob
        if not len(tokens):
            return gap
        shift = self._shift(gap.double(), tokens)
        return torch.where(shift == 0, gap, (gap.double() + shift).to(gap.dtype))

    @property
    def objective(self) -> Objective:
        """The advantage through the surrogate."""
        return PolicyGradient(self.advantage, self.config.advantage_clip)

    def _shift(self, gap: Tensor, tokens: TokenStatistics) -> Tensor:
        """What each token is shifted by, float64 [N]."""
        _, owner, length = torch.unique(tokens.trajectory, return_inverse=True, return_counts=True)
        _, group = torch.unique(tokens.group, return_inverse=True)
        episodes, tasks = len(length), int(group.max()) + 1
        value = gap.new_zeros(episodes).scatter_add_(0, owner, gap)
        value = value / length
        task = group.new_zeros(episodes).scatter_(0, owner, group)
        won, cut = (x.new_zeros(episodes).scatter_(0, owner, x) for x in (tokens.success, tokens.cut))
        high = self._statistic(value, task, won & ~cut, tasks, "amin")
        low = self._statistic(value, task, ~won & ~cut, tasks, "amax")
        missing = (self.config.margin - (high - low)).clamp(min=0.0)
        missing = torch.where(missing.isfinite(), missing, torch.zeros_like(missing))[group]  # NaN: a class is empty
        up = {"both": 0.5, "up": 1.0, "down": 0.0}[self.config.side]
        return torch.where(tokens.success, up * missing, (up - 1.0) * missing).masked_fill(tokens.cut, 0.0)

    def _statistic(self, value: Tensor, task: Tensor, member: Tensor, tasks: int, worst: str) -> Tensor:
        """The class's statistic for each task, NaN where it has no episode."""
        value, task = value[member], task[member]
        count = value.new_zeros(tasks).scatter_add_(0, task, torch.ones_like(value))
        if self.config.statistic == "mean":
            return value.new_zeros(tasks).scatter_add_(0, task, value) / count
        found = value.new_zeros(tasks).scatter_reduce(0, task, value, worst, include_self=False)
        return torch.where(count > 0, found, torch.full_like(found, torch.nan))
