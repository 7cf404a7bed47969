"""A trust region on probabilities instead of ratios: tokens that moved too far are dropped, the rest is unclipped.

    loss = -keep r A + drift (log r)^2,   keep = not (pi - pi_old < -radius)                        (sides = "fall")

A ratio of 0.5 means nothing for a token of probability 0.001 and a lot for one of 0.9; the difference of the
probabilities sees that. One-sided, as prime-rl's distillation loss has it, only a fall counts: the tokens of a policy
that a stale batch would push down further. "sign" is DPPO's region (arXiv 2602.04879): a rise counts for positive
advantages and a fall for negative ones. "both" ignores the sign. The drift term (Kimi K2.5's) pulls every token
towards the old policy, dropped ones too.

Defaults: radius 0.2, drift 0.001 (prime-rl).
Proofs: tests/surrogates/test_trust_region.py (which tokens are kept on all sides, drift's gradient 2 drift log r, no
gradient but the drift's for dropped tokens, on-policy equal to PPO).
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginConfig
from agentdistill_surrogates.ratio import LOG_BOUND, Stateless


class TrustRegionConfig(PluginConfig):
    """The region.

    Attributes:
        radius: how far a token's probability may move.
        sides: "fall" drops tokens whose probability fell too far, "sign" those that moved too far in the direction of
            their advantage, "both" all that moved too far.
        drift: coefficient of the squared log-ratio.
    """

    radius: float = Field(default=0.2, gt=0.0, lt=1.0)
    sides: Literal["fall", "sign", "both"] = "fall"
    drift: float = Field(default=1e-3, ge=0.0)


class TrustRegion(Stateless):
    """See `TrustRegionConfig`."""

    def __init__(self, config: TrustRegionConfig) -> None:
        self.config = config

    def values(self, logprob: Tensor, tokens: TokenStatistics, advantage: Tensor) -> Tensor:
        """The loss of each token, [n]."""
        config = self.config
        log_ratio = (logprob - tokens.old_logprob).clamp(-LOG_BOUND, LOG_BOUND)
        moved = torch.exp(logprob.detach()) - torch.exp(tokens.old_logprob)
        if config.sides == "fall":
            far = moved < -config.radius
        elif config.sides == "sign":
            far = moved * advantage.sign() > config.radius
        else:
            far = moved.abs() > config.radius
        gain = torch.where(far, torch.zeros_like(advantage), advantage)
        return -gain * torch.exp(log_ratio) + config.drift * log_ratio**2
