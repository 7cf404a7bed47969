"""Contrast between successes and failures of one task, in the style of QCRD (arXiv 2405.13014).

QCRD contrasts a teacher's good rationales with those of earlier students. The many-to-one contrast over the episodes of
one task in the batch, with s = (1/|y|) log pi(y):

    L = mean_{successes i} -log( e^{s_i / tau} / (e^{s_i / tau} + sum_{failures j of the task} e^{s_j / tau}) )

Unlike `redi` it stops: once the successes are far likelier than the failures nothing is pushed. Its gradient with
respect to the log-probabilities is taken at the student before the step: (1 - P_i) / tau for a success, -sum_i P_ij /
tau for a failure, spread over the episode's tokens.

`agentdistill imitate` with this [loss] contrasts stored episodes (a teacher's, an earlier student's);
`agentdistill train` the student's own of the batch, as an advantage; the teacher it needs is not asked anything. Tasks
whose episodes in the batch all succeed or all fail teach nothing, and nor do episodes that the curriculum cut.

Differs from the paper: only the contrast is taken; its discriminator's weights and self-consistency filter are not in
it. Exact under `reduction = "token-mean"`. Proofs: the learner's gradient is that of the formula by automatic
differentiation, for both ways, on a real model too; groups do not touch each other; it vanishes as the margin grows. No
teacher is in it: it is not zero at teacher = student.
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


class ContrastConfig(PluginConfig):
    """A contrast between the successes and failures of a task.

    Attributes:
        temperature: tau of the contrast, nats per token: smaller looks at the likeliest failures only.
    """

    temperature: float = Field(default=1.0, gt=0.0)


def contrast_advantage(tokens: TokenStatistics, config: ContrastConfig) -> Tensor:
    """float32 [N]; 0 for tasks without both a success and a failure."""
    found, tau = episodes(tokens), config.temperature
    rivals = (found.group[:, None] == found.group[None]) & found.success[:, None] & found.failure[None]
    judged = rivals.any(1)
    # Row i: success i against itself (column E) and the failures of its task.
    own = found.score[:, None]
    against = torch.where(rivals, found.score[None].expand_as(rivals), -torch.inf)
    share = torch.softmax(torch.cat([against, own], dim=1) / tau, dim=1)
    share = torch.where(judged[:, None], share, 0.0)
    up = torch.where(judged, 1.0 - share[:, -1], 0.0)
    slope = (share[:, :-1].sum(0) - up) / tau / judged.sum().clamp(min=1)
    return found.spread(slope)


class ContrastLoss:
    """See `ContrastConfig`."""

    needs = frozenset({"groups"})
    failures = True
    rests_at_teacher = False
    request = ScoreRequest(sampled=True)  # not used

    def __init__(self, config: ContrastConfig) -> None:
        """Keeps the options."""
        self.config = config

    @property
    def objective(self) -> Objective:
        """Successes against failures."""
        return PolicyGradient(self.imitation, advantage_clip=math.inf)

    def imitation(self, tokens: TokenStatistics) -> Tensor:
        """What demonstrated tokens count."""
        return contrast_advantage(tokens, self.config)
