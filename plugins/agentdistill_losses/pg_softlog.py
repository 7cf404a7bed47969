"""Soft-log: the log-ratio advantage, squashed (arXiv 2607.13399).

    A = sign(Delta) log(1 + |Delta|),   Delta = log pi_T - log pi_old

Sampled log-ratios have heavy tails: a few tokens that the teacher finds absurd carry most of an update. The logarithm
keeps their order and their sign and takes their weight; near 0 it is Delta itself. The paper finds it best at moderate
gaps between teacher and student and a hard clip best at large ones; `log_ratio_clip` is that clip, applied before.

Defaults: the clip is 20 nats, which is hardly ever reached.
Proofs: tests/losses/test_pg_shapes.py (odd, monotone, slope 1 at 0, worked values, zero for a student that equals its
teacher).
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from agentdistill.learner.losses import Objective, PolicyGradient
from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginConfig
from agentdistill.records import ScoreRequest


class SoftLogConfig(PluginConfig):
    """The squash.

    Attributes:
        scale: nats at which squashing begins: A = scale sign(Delta) log(1 + |Delta| / scale). 1 is the paper's.
        log_ratio_clip: Delta is clipped to +- this many nats before.
    """

    scale: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)
    log_ratio_clip: float = Field(default=20.0, gt=0.0)


class SoftLogLoss:
    """See `SoftLogConfig`."""

    request = ScoreRequest(sampled=True)

    def __init__(self, config: SoftLogConfig) -> None:
        self.config = config

    def advantage(self, tokens: TokenStatistics) -> Tensor:
        """The squashed log-ratio of each token, [N]."""
        clip, scale = self.config.log_ratio_clip, self.config.scale
        gap = (tokens.teacher_logprob - tokens.old_logprob).clamp(-clip, clip)
        return scale * gap.sign() * torch.log1p(gap.abs() / scale)

    @property
    def objective(self) -> Objective:
        """The advantage through the surrogate."""
        return PolicyGradient(self.advantage)
