"""RLAD's trust-region ratio distillation (arXiv 2602.22495): the teacher enters through the ratio, not the advantage.

    log r = alpha (log pi - log pi_old) + (1 - alpha) (log pi - log pi_T)
    loss  = max(-r A, -clip(r, 1 - low, 1 + high) A)

The policy is compared with a blend of its old self and the teacher, pi_old^alpha pi_T^(1-alpha). Where the teacher
already agrees with the direction of the reward the token is free to move; where the policy has overtaken the teacher
it is clipped. alpha = 1 is PPO with the same advantage (GRPO's, in the paper), bit for bit.

The interval is around 1, so when teacher and student differ r is not 1 even on-policy, and a token that the student
likes much more or much less than the teacher can be clipped at the first step already. That is the paper's formula.

The advantage is meant to be the rewards' alone: leave the teacher's out by the fusion `additive` with kd = 0.

Defaults: bounds 0.2; the paper's alpha is not known to us, 0.5 weighs both alike. No dual clip (the paper has none).
Proofs: tests/surrogates/test_trrd.py (alpha = 1 is PPO bit for bit, values and gradients; log r by hand).
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginConfig
from agentdistill_surrogates.ratio import LOG_BOUND, Stateless, clipped, importance_ratio


class TrrdConfig(PluginConfig):
    """The blend and its bounds.

    Attributes:
        alpha: share of the old policy in the blend, the teacher has the rest.
        clip_low: the ratio may fall to 1 - clip_low.
        clip_high: the ratio may rise to 1 + clip_high.
        dual_clip: bound of the loss for negative advantages, in multiples of |A|; false for none.
    """

    alpha: float = Field(default=0.5, ge=0.0, le=1.0)
    clip_low: float = Field(default=0.2, gt=0.0, le=1.0)
    clip_high: float = Field(default=0.2, gt=0.0)
    dual_clip: float | None = Field(default=None, gt=1.0)


class Trrd(Stateless):
    """See `TrrdConfig`."""

    def __init__(self, config: TrrdConfig) -> None:
        self.config = config

    def ratio(self, logprob: Tensor, tokens: TokenStatistics) -> Tensor:
        """The ratio pi / (pi_old^alpha pi_T^(1-alpha)), [n]."""
        alpha = self.config.alpha
        if alpha == 1.0:  # not 1 x + 0 y: bit for bit the ratio of PPO, and no need of the teacher
            return importance_ratio(logprob, tokens.old_logprob)
        log_ratio = alpha * (logprob - tokens.old_logprob) + (1.0 - alpha) * (logprob - tokens.teacher_logprob)
        return torch.exp(log_ratio.clamp(-LOG_BOUND, LOG_BOUND))

    def values(self, logprob: Tensor, tokens: TokenStatistics, advantage: Tensor) -> Tensor:
        """The clipped loss of each token, [n]."""
        config = self.config
        low, high = 1.0 - config.clip_low, 1.0 + config.clip_high
        return clipped(self.ratio(logprob, tokens), advantage, low, high, config.dual_clip)
