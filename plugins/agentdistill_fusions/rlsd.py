"""RLSD (arXiv 2604.03128): the rewards decide the direction of every token, the teacher only how far.

    A_t = A_rl [ (1 - lambda) + lambda clip(exp(sign(A_rl) Delta_t), 1 - eps, 1 + eps) ]
    Delta_t = log pi_T - log pi_old

A token that the teacher likes counts more in a won episode and less in a lost one, and the other way round. As the
factor is positive the sign is the rewards', always: a wrong teacher slows the student but cannot turn it. The
teacher's own signal is not added (scale 0), so nothing is learned from groups whose rewards are alike.

Defaults: lambda 1 and eps 0.2 (the notes we have give none; lambda = 0 is the advantage alone).
Proofs: tests/fusions/test_modulation.py (sign preserved for every input, lambda 0 is GRPO, bounds, worked values).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from agentdistill.learner.fusion import FusionBase, Scales
from agentdistill.learner.progress import LearnerProgress
from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginConfig


class RlsdConfig(PluginConfig):
    """How far the teacher may stretch the rewards' signal.

    Attributes:
        strength: lambda, the share of the factor that is the teacher's.
        epsilon: the teacher's factor stays within 1 +- this.
    """

    strength: float = Field(default=1.0, ge=0.0, le=1.0)
    epsilon: float = Field(default=0.2, gt=0.0, lt=1.0)


class Rlsd(FusionBase):
    """See `RlsdConfig`."""

    needs = frozenset({"advantage"})

    def __init__(self, config: RlsdConfig) -> None:
        self.config = config

    def scales(self, progress: LearnerProgress) -> Scales:
        """The rewards alone."""
        return Scales(kd=0.0, rl=1.0)

    def weights(self, tokens: TokenStatistics) -> Mapping[str, Tensor] | None:
        """The factor of each token."""
        strength, epsilon = self.config.strength, self.config.epsilon
        liked = -tokens.log_ratio * tokens.advantage.sign()
        factor = torch.exp(liked.clamp(-20.0, 20.0)).clamp(1.0 - epsilon, 1.0 + epsilon)
        return {"rl": (1.0 - strength) + strength * factor}
