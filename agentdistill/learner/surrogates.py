"""What an advantage becomes as a loss: a function of the importance ratio, differentiable in the log-probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from agentdistill.learner.statistics import TokenStatistics


@runtime_checkable
class Surrogate(Protocol):
    """Registered as a class, constructed with its config.

    One with `looks_ahead = True` is given the student's log-probabilities of now by `prepare(tokens, advantage,
    logprob=...)` in every update of a batch but the first, where they are those it sampled with.
    """

    def prepare(self, tokens: TokenStatistics, advantage: Tensor) -> Surrogate:
        """What to use for one batch; for surrogates that look at all of it first.

        Args:
            tokens: all N tokens of the batch.
            advantage: float32 [N], as it will be used.
        """
        ...

    def values(self, logprob: Tensor, tokens: TokenStatistics, advantage: Tensor) -> Tensor:
        """The loss of each token, [n], differentiable in `logprob`.

        Args:
            logprob: [n], log-probability under the current student.
            tokens: the same n tokens.
            advantage: float32 [n], constant.
        """
        ...


@dataclass(frozen=True, slots=True)
class ClippedRatio:
    """The clipped importance ratio (arXiv 1707.06347, Eq. 7) with the dual clip of arXiv 1912.09729 (Eq. 4).

    Attributes:
        low: the ratio pi / pi_old is clipped at 1 - this.
        high: and at 1 + this.
        dual: for negative advantages the loss is at most this many times |A|.
    """

    low: float = 0.2
    high: float = 0.2
    dual: float = 3.0

    def prepare(self, tokens: TokenStatistics, advantage: Tensor) -> ClippedRatio:
        """The bounds are fixed."""
        return self

    def values(self, logprob: Tensor, tokens: TokenStatistics, advantage: Tensor) -> Tensor:
        """See `Surrogate`. With one pass over an on-policy batch: value -A, gradient -A grad log pi."""
        ratio = torch.exp((logprob - tokens.old_logprob).clamp(-20.0, 20.0))
        bounded = ratio.clamp(1.0 - self.low, 1.0 + self.high)
        loss = torch.maximum(-ratio * advantage, -bounded * advantage)
        return torch.where(advantage < 0, torch.minimum(loss, -self.dual * advantage), loss)
