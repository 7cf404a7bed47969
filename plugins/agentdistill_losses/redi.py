"""REDI: failed episodes as negatives (arXiv 2505.24850).

Imitation throws failures away. Here they are pushed down, more gently than successes are pulled up:

    L = -mean_{successes} (1/|y|) log pi(y) + alpha mean_{failures} (1/|y|) log pi(y),     alpha = 0.8

alpha = 0 is length-normalised imitation of the successes, alpha = 1 collapses (the paper). With `focus` > 0 a failure
counts by exp(focus mean log pi): those the student finds likely count more (an option of the released code).

`agentdistill imitate` with this [loss] is the paper's second stage: stored episodes, failures among them
(`demonstrations.source`), after a first stage of plain imitation. `agentdistill train` does the same with the student's
own episodes of the batch, through PPO's clip, which bounds the push; the teacher it needs is not asked anything.

Episodes that the curriculum cut are neither: nobody knows whether they would have been won.

Differs from the paper: the means are those of a batch, which need not have as many failures as successes. The length
is the episode's number of trained tokens, exact under `reduction = "token-mean"`. Proofs: the learner's gradient is
that of the formula by automatic differentiation, for both ways, on a real model too; ratio of gradients; alpha = 0;
length; cut episodes. No teacher is in it, so it is not zero at teacher = student.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from agentdistill.learner.losses import Objective, PolicyGradient
from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginConfig
from agentdistill.records import ScoreRequest
from agentdistill_losses.episodes import episodes


class RediConfig(PluginConfig):
    """Imitation with negatives.

    Attributes:
        alpha: how much failures are pushed down, in [0, 1).
        focus: failures count by exp(focus times their mean log-probability); 0 counts all alike.
    """

    alpha: float = Field(default=0.8, ge=0.0, lt=1.0)
    focus: float = Field(default=0.0, ge=0.0)


def redi_advantage(tokens: TokenStatistics, config: RediConfig) -> Tensor:
    """float32 [N]; positive for successes, negative for failures, 0 for a side that has no episode."""
    found = episodes(tokens)
    good, bad = found.success.double(), found.failure.double()
    focus = torch.exp(config.focus * found.score)
    slope = config.alpha * bad * focus / bad.sum().clamp(min=1.0) - good / good.sum().clamp(min=1.0)
    return found.spread(slope)


class RediLoss:
    """See `RediConfig`."""

    failures = True
    rests_at_teacher = False
    request = ScoreRequest(sampled=True)  # not used

    def __init__(self, config: RediConfig) -> None:
        """Keeps the options."""
        self.config = config

    @property
    def objective(self) -> Objective:
        """Successes up, failures down."""
        return PolicyGradient(self.imitation, advantage_clip=math.inf)

    def imitation(self, tokens: TokenStatistics) -> Tensor:
        """What demonstrated tokens count."""
        return redi_advantage(tokens, self.config)
