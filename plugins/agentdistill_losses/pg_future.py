"""The discounted future of the log-ratio: a token answers for what the student says after it, too.

    A_t = sum_{t' >= t} gamma^(t' - t) Delta_t',   Delta = log pi_T - log pi_old
    normalised: divided by sum_{t' >= t} gamma^(t' - t)

gamma = 0 is token-level distillation, which ignores that a token changes the states of all later ones; gamma = 1 is
the policy gradient of the whole sequence's reverse KL (MiniLLM, arXiv 2306.08543, Eq. 3), unbiased and with a variance
that grows with the square of the length. tinker's `kl_discount_factor` is this gamma; TRL's MiniLLM is the normalised
form, which keeps the size of A whatever the length.

`until` says where the future ends: at the end of the "turn", or of the "episode". Only tokens that the student wrote
are counted, so between two turns gamma is applied once, however long the observation was.

Defaults: gamma 0.9 within the turn, not normalised (tinker's default is gamma 0, that is, off).
Proofs: tests/losses/test_pg_shapes.py (gamma 0 is "opd" exactly, gamma 1 is the sum to come, against a loop, turns and
episodes do not mix, the normalised form of a constant is that constant).
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


class FutureKlConfig(PluginConfig):
    """The discount.

    Attributes:
        gamma: weight of the next token's log-ratio, of the one after it gamma^2, and so on.
        until: the future ends with the "turn" or with the "episode".
        normalised: divide by the sum of the weights.
        log_ratio_clip: each log-ratio is clipped to +- this many nats before it is summed.
        advantage_clip: sums are clipped to +- this.
    """

    gamma: float = Field(default=0.9, ge=0.0, le=1.0)
    until: Literal["turn", "episode"] = "turn"
    normalised: bool = False
    log_ratio_clip: float = Field(default=20.0, gt=0.0)
    advantage_clip: float = Field(default=20.0, gt=0.0)


def discounted_to_come(values: Tensor, segment: Tensor, gamma: float) -> Tensor:
    """sum_{t' >= t} gamma^(t' - t) values_t' within each segment, by doubling: log2 of the longest segment in steps.

    Args:
        values: float [N].
        segment: int64 [N], the same number for consecutive tokens that belong together.
        gamma: the discount.
    """
    total, hop, factor = values.double(), 1, gamma
    longest = int(torch.unique_consecutive(segment, return_counts=True)[1].max()) if len(segment) else 0
    while hop < longest:
        # total[t] covers [t, t + hop); adding total[t + hop] doubles that.
        more = torch.zeros_like(total)
        more[:-hop] = torch.where(segment[hop:] == segment[:-hop], total[hop:], more[hop:])
        total = total + factor * more
        hop, factor = 2 * hop, factor * factor
    return total


class FutureKlLoss:
    """See `FutureKlConfig`."""

    request = ScoreRequest(sampled=True)

    def __init__(self, config: FutureKlConfig) -> None:
        self.config = config

    def advantage(self, tokens: TokenStatistics) -> Tensor:
        """The discounted sum from each token on, [N]."""
        config = self.config
        gap = (tokens.teacher_logprob - tokens.old_logprob).clamp(-config.log_ratio_clip, config.log_ratio_clip)
        segment = tokens.trajectory
        if config.until == "turn" and len(tokens):
            segment = segment * (int(tokens.column.max()) + 1) + tokens.column
        total = discounted_to_come(gap, segment, config.gamma)
        if config.normalised:
            total = total / discounted_to_come(torch.ones_like(gap), segment, config.gamma)
        return total.to(gap.dtype)

    @property
    def objective(self) -> Objective:
        """The advantage through the surrogate."""
        return PolicyGradient(self.advantage, self.config.advantage_clip)
