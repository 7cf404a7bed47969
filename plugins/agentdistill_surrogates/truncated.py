"""Truncated importance weights: the correction for a stale or differently computed policy, bounded and unclipped.

    gradient = -w A grad log pi,   w = min(r, cap)            (outside = "cap"; TIS, CISPO: arXiv 2506.13585)
                                   w = r if floor <= r <= cap else 0   (outside = "drop"; IcePop, MOPD's ratio mask)

Unlike PPO's clip a capped token still learns, with the weight it was cut to; a dropped one does not. The weight is a
constant for the gradient. `pi_old` is what the engine reported, so the ratio covers staleness and the difference
between the engine's and the learner's arithmetic at once; released code often has a factor for each.

Defaults: cap 2, no floor (flash-rl's and verl's TIS). IcePop's band is 0.5 to 5.
Proofs: tests/surrogates/test_importance.py (equal to importance sampling inside the band, weight exactly the cap or 0
outside, gradient never zero when capped).
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginConfig
from agentdistill_surrogates.ratio import Stateless, importance_ratio


class TruncatedConfig(PluginConfig):
    """The band of the weights.

    Attributes:
        cap: largest weight.
        floor: smallest weight; 0 is none.
        outside: what happens to a token whose ratio leaves the band: "cap" gives it the nearest bound, "drop" gives it
            no gradient.
    """

    cap: float = Field(default=2.0, ge=1.0)
    floor: float = Field(default=0.0, ge=0.0, le=1.0)
    outside: Literal["cap", "drop"] = "cap"

    @model_validator(mode="after")
    def _band(self) -> TruncatedConfig:
        if self.cap == self.floor:
            raise ValueError("cap = floor = 1 leaves a band of one point: use the surrogate `reinforce`")
        return self


class Truncated(Stateless):
    """See `TruncatedConfig`."""

    def __init__(self, config: TruncatedConfig) -> None:
        self.config = config

    def values(self, logprob: Tensor, tokens: TokenStatistics, advantage: Tensor) -> Tensor:
        """The loss of each token, [n]; its value is -w A."""
        config = self.config
        ratio = importance_ratio(logprob.detach(), tokens.old_logprob)
        weight = ratio.clamp(config.floor, config.cap)
        if config.outside == "drop":
            weight = torch.where(weight == ratio, weight, torch.zeros_like(weight))
        return -weight * advantage * torch.exp(logprob - logprob.detach())
