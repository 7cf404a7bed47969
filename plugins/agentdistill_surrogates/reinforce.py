"""REINFORCE (Williams 1992): the advantage times the gradient of the log-probability, as if the batch were on-policy.

    gradient = -A grad log pi

The value reported is -A (the surrogate's value at ratio 1), not A log pi, so that it can be compared with the other
surrogates. On stale data it is biased, and for that reason steadier than "importance-sampling".

Proofs: tests/surrogates/test_importance.py (gradient independent of the old policy, equal to PPO's at ratio 1).
"""

from __future__ import annotations

import torch
from torch import Tensor

from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginConfig
from agentdistill_surrogates.ratio import Stateless


class ReinforceConfig(PluginConfig):
    """Takes no options."""


class Reinforce(Stateless):
    """See `ReinforceConfig`."""

    def __init__(self, config: ReinforceConfig) -> None:
        self.config = config

    def values(self, logprob: Tensor, tokens: TokenStatistics, advantage: Tensor) -> Tensor:
        """The loss of each token, [n]."""
        return -advantage * torch.exp(logprob - logprob.detach())
