"""What the surrogates share: the importance ratio, the clipped objective, and the form of a surrogate."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from agentdistill.learner.statistics import TokenStatistics

LOG_BOUND = 20.0
"""Log-ratios are bounded to +- this before they are exponentiated: beyond it a ratio says only that something broke."""


class Stateless:
    """A surrogate that looks at nothing but the tokens it is given."""

    needs: ClassVar[frozenset[str]] = frozenset()

    def prepare(self, tokens: TokenStatistics, advantage: Tensor) -> Stateless:
        """Nothing depends on the whole batch."""
        return self

    def values(self, logprob: Tensor, tokens: TokenStatistics, advantage: Tensor) -> Tensor:
        """The loss of each token.

        Args:
            logprob: float [n], log-probability under the policy being trained; differentiable.
            tokens: statistics of the same n tokens.
            advantage: float [n], detached.

        Returns:
            float [n], differentiable in `logprob`.
        """
        return -advantage * importance_ratio(logprob, tokens.old_logprob)


def importance_ratio(logprob: Tensor, old_logprob: Tensor) -> Tensor:
    """exp(log pi - log pi_old), the log-ratio bounded to +- `LOG_BOUND`."""
    return torch.exp((logprob - old_logprob).clamp(-LOG_BOUND, LOG_BOUND))


def clipped(ratio: Tensor, advantage: Tensor, low: float, high: float, dual: float | None) -> Tensor:
    """PPO's pessimistic loss, max(-r A, -clip(r, low, high) A), for A < 0 never more than dual |A|.

    Args:
        ratio: float [n], differentiable.
        advantage: float [n].
        low: lower bound of the ratio.
        high: upper bound of the ratio.
        dual: the dual clip; None leaves the loss of negative advantages unbounded.
    """
    loss = torch.maximum(-ratio * advantage, -ratio.clamp(low, high) * advantage)
    if dual is None:
        return loss
    return torch.where(advantage < 0, torch.minimum(loss, -dual * advantage), loss)
