"""TrOPD: trust-region on-policy distillation (arXiv 2606.01249).

A sampled token that the teacher all but rules out says how wrong the student was, and little about what is right. Such
tokens are trained towards the teacher's likeliest tokens instead.

    loss_t = m_t (-A_t log pi) + (1 - m_t) FKL_top-k,t       m_t = min(pi_T / pi_old, 1),  A_t = log pi_T - log pi_old

m is the acceptance probability of speculative decoding. Paper: k = 64, the outliers' target compared with masking and
clipping. Its third part, a teacher's prefix whose length anneals by a cosine, is a curriculum and not in here.

Differs from the paper: m enters as its expectation instead of as a Bernoulli draw, the same expected gradient with less
variance and no random numbers; the forward KL keeps a bucket for the tail. Proofs: the expected gradient by enumeration
of a vocabulary; pi_T >= pi_old gives plain distillation; teacher = student gives zero.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from agentdistill.learner.losses import Objective, PolicyGradient
from agentdistill.learner.statistics import TokenStatistics
from agentdistill.learner.topk import TopKDivergence
from agentdistill.plugins import PluginConfig
from agentdistill.records import ScoreRequest
from agentdistill_losses.blend import Blend
from agentdistill_losses.divergences import ForwardKL
from agentdistill_losses.opd import reverse_kl_advantage


class TropdConfig(PluginConfig):
    """Trust-region on-policy distillation.

    Attributes:
        outliers: what is done outside the trust region: "forward-kl" towards the teacher's likeliest tokens, or "mask".
        k: how many of the teacher's likeliest tokens the forward KL sees, with a bucket for the rest.
        log_ratio_clip: advantages are clipped to +- this many nats.
    """

    outliers: Literal["forward-kl", "mask"] = "forward-kl"
    k: int = Field(default=64, ge=1)
    log_ratio_clip: float = Field(default=20.0, gt=0.0)


def trust(tokens: TokenStatistics) -> Tensor:
    """[n] in [0, 1], min(pi_T / pi_old, 1): how far the teacher would have accepted the token."""
    return torch.exp((tokens.teacher_logprob - tokens.old_logprob).clamp(max=0.0))


def distrust(tokens: TokenStatistics) -> Tensor:
    """[n], 1 - `trust`."""
    return 1.0 - trust(tokens)


class TropdLoss:
    """See `TropdConfig`."""

    def __init__(self, config: TropdConfig) -> None:
        """Chooses the terms."""
        self.config = config

    @property
    def request(self) -> ScoreRequest:
        """Sampled log-probabilities, and the teacher's likeliest tokens for the outliers."""
        return ScoreRequest(sampled=True, top_k=self.config.k if self.config.outliers == "forward-kl" else 0)

    @property
    def objective(self) -> Objective:
        """The reverse KL inside, the forward KL outside of the trust region."""
        c = self.config
        if c.outliers == "mask":
            return PolicyGradient(lambda t: trust(t) * reverse_kl_advantage(t), c.log_ratio_clip)
        inside = PolicyGradient(reverse_kl_advantage, c.log_ratio_clip)
        return Blend([(trust, inside), (distrust, TopKDivergence(ForwardKL(), c.k, support="teacher", tail="bucket"))])
