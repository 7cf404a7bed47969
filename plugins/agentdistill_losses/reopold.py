"""REOPOLD: relaxed on-policy distillation (arXiv 2603.11137).

Distillation as policy optimisation with the log-ratio R = log pi_T - log pi_old as the reward, and three reliefs: the
reward has a floor, so that tokens which the teacher rules out do not dominate; early on only tokens above the floor
are trained (exploration); later those where the student wavers (refinement).

    A_t = (N / sum M) M_t max(sg R_t, log(l / (1 - l)))                               (Eq. 4 and 7, l = 0.2: -1.39 nats)
    M_t = 1[R_t >= log(l / (1 - l))] before the switch, 1[H_S,t >= top share of the batch] after it          (Eq. 8)

Defaults: l = 0.2, the half of highest entropy, switch at half the run.

Differs from the paper: no code was released; the share and the switch are what its ablations support best. The mean
over the selected tokens is expressed by the factor N / sum M, exact under `reduction = "token-mean"`. Proofs: the
floor and the masks by hand; with l -> 0 and every token selected it is plain distillation; teacher = student gives
zero.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from agentdistill.learner.losses import PolicyGradient
from agentdistill.learner.progress import LearnerProgress
from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginConfig
from agentdistill.records import ScoreRequest


class ReopoldConfig(PluginConfig):
    """Relaxed on-policy distillation.

    Attributes:
        mixture: l of the floor log(l / (1 - l)), in (0, 0.5]: the share of the student in the mixture that bounds it.
        entropy_share: share of the batch's tokens, those of highest student entropy, that refinement trains.
        switch: share of the run after which exploration becomes refinement; 0 is refinement only, 1 exploration only.
        reward_clip: rewards are clipped to this many nats from above.
    """

    mixture: float = Field(default=0.2, gt=0.0, le=0.5)
    entropy_share: float = Field(default=0.5, gt=0.0, le=1.0)
    switch: float = Field(default=0.5, ge=0.0, le=1.0)
    reward_clip: float = Field(default=20.0, gt=0.0)


def relaxed_reward(tokens: TokenStatistics, floor: float) -> Tensor:
    """max(R, floor), [N], nats."""
    return (tokens.teacher_logprob - tokens.old_logprob).clamp(min=floor)


def highest(values: Tensor, share: float) -> Tensor:
    """The `share` of the tokens with the largest values, bool [N]; ties included, at least one."""
    if len(values) == 0:
        return torch.zeros_like(values, dtype=torch.bool)
    count = max(1, math.ceil(share * len(values)))
    return values >= values.topk(count).values[-1]


class ReopoldLoss:
    """See `ReopoldConfig`."""

    request = ScoreRequest(sampled=True)

    def __init__(self, config: ReopoldConfig) -> None:
        """Finds the floor."""
        self.config = config
        self.floor = math.log(config.mixture / (1.0 - config.mixture))
        # Without refinement nobody has to report entropies.
        self.needs = frozenset({"old_entropy"} if config.switch < 1.0 else ())

    def exploration(self, tokens: TokenStatistics) -> Tensor:
        """The advantage before the switch, [N]."""
        reward = tokens.teacher_logprob - tokens.old_logprob
        return self._masked(tokens, reward >= self.floor)

    def refinement(self, tokens: TokenStatistics) -> Tensor:
        """The advantage after the switch, [N]."""
        return self._masked(tokens, highest(tokens.old_entropy, self.config.entropy_share))

    def _masked(self, tokens: TokenStatistics, mask: Tensor) -> Tensor:
        reward = relaxed_reward(tokens, self.floor).clamp(max=self.config.reward_clip)
        return torch.where(mask, reward, 0.0) * len(tokens) / mask.sum().clamp(min=1)

    def at(self, progress: LearnerProgress) -> PolicyGradient:
        """Exploration, then refinement."""
        phase = self.exploration if progress.fraction < self.config.switch else self.refinement
        return PolicyGradient(phase, advantage_clip=math.inf)
