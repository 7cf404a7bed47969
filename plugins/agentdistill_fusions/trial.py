"""TRIAL's modulation (arXiv 2608.07371): turns count in the rewards' signal by the size of their gap.

    g_t = mean_j |log pi_T - log pi_old| over the turn,   w_t = clip(g_t / g, low, high),   A_t = w_t A_rl

g is the mean gap of the batch's tokens, so that the weights have the token-weighted mean 1 before the clip. Turns
where a teacher that has seen the outcome (hindsight in its context) would have written something else are where the
episode was decided; the rest of the return is noise. Any teacher works; the paper's is the student with hindsight.

Defaults: clip to [0.5, 2] (the paper's bounds are not known to us). The teacher's own signal is not added, and the sign
is the rewards'. Where nothing differs all weights are 1.
Proofs: tests/fusions/test_modulation.py (token-weighted mean 1 without the clip, bounds, sign, no gap gives 1).
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
from agentdistill_fusions.turns import means, turn_of_token


class TrialConfig(PluginConfig):
    """The clip.

    Attributes:
        low: smallest weight of a turn.
        high: largest weight of a turn.
    """

    low: float = Field(default=0.5, ge=0.0, le=1.0)
    high: float = Field(default=2.0, ge=1.0)


class Trial(FusionBase):
    """See `TrialConfig`."""

    needs = frozenset({"advantage"})

    def __init__(self, config: TrialConfig) -> None:
        self.config = config

    def scales(self, progress: LearnerProgress) -> Scales:
        """The rewards alone."""
        return Scales(kd=0.0, rl=1.0)

    def weights(self, tokens: TokenStatistics) -> Mapping[str, Tensor] | None:
        """The weight of each token's turn."""
        if not len(tokens):
            return None
        turn, owner = turn_of_token(tokens)
        size = tokens.log_ratio.abs().double()
        gap = means(size, turn, len(owner))[turn]
        overall = size.mean()
        weight = gap / overall if float(overall) > 0 else torch.ones_like(gap)
        return {"rl": weight.clamp(self.config.low, self.config.high).to(tokens.old_logprob.dtype)}
