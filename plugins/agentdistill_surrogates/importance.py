"""The plain importance-sampled policy gradient: what tinker's `importance_sampling` loss and many OPD scripts use.

    loss = -r A,  r = pi / pi_old

Unbiased on stale data and without any bound: one token that the policy has come to prefer much more than when it was
sampled can own the batch. Use "truncated" or "ppo" when batches are stale.

Proofs: tests/surrogates/test_importance.py (gradient -r A grad log pi; unbiased on off-policy samples, by enumeration).
"""

from __future__ import annotations

from torch import Tensor

from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginConfig
from agentdistill_surrogates.ratio import Stateless, importance_ratio


class ImportanceSamplingConfig(PluginConfig):
    """Takes no options."""


class ImportanceSampling(Stateless):
    """See `ImportanceSamplingConfig`."""

    def __init__(self, config: ImportanceSamplingConfig) -> None:
        self.config = config

    def values(self, logprob: Tensor, tokens: TokenStatistics, advantage: Tensor) -> Tensor:
        """The loss of each token, [n]."""
        return -advantage * importance_ratio(logprob, tokens.old_logprob)
