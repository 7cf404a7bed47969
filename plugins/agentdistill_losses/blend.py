"""Sums of objectives: each token's loss is a combination of parts with detached coefficients of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from agentdistill.learner.losses import Objective, TeacherView, TokenLoss
from agentdistill.learner.statistics import TokenStatistics

Coefficient = Callable[[TokenStatistics], Tensor]
"""`TokenStatistics` of n tokens -> [n], what one part counts for each of them."""


def always(tokens: TokenStatistics) -> Tensor:
    """1 for every token."""
    return torch.ones_like(tokens.old_logprob)


@dataclass(frozen=True, slots=True)
class Blend:
    """sum_i c_i(token) objective_i(token). Parts see the same chunk of logits, so the output layer is applied once.

    Attributes:
        parts: coefficients and objectives; the first part's log-probabilities are the blend's. Coefficients are
            computed pass by pass, where responses are whole.
    """

    parts: Sequence[tuple[Coefficient, Objective]]

    @property
    def needs_hidden(self) -> bool:
        """Whether any part needs the teacher's hidden states."""
        return any(part.needs_hidden for _, part in self.parts)

    @property
    def needs_top(self) -> bool:
        """Whether any part needs the teacher's most likely tokens."""
        return any(bool(getattr(part, "needs_top", False)) for _, part in self.parts)

    @property
    def across(self) -> bool:
        """Whether all parts that look at whole distributions work across vocabularies."""
        return all(bool(getattr(part, "across", False)) for _, part in self.parts if part.needs_hidden)

    def chunk_loss(self, tokens: TokenStatistics, teacher: TeacherView | None) -> TokenLoss:
        """See `Objective`."""
        return _Sum([(c(tokens).detach(), part.chunk_loss(tokens, teacher)) for c, part in self.parts])


class _Sum:
    """The chunk loss of a blend; log-probabilities and clipping are those of its first part."""

    def __init__(self, parts: list[tuple[Tensor, TokenLoss]]) -> None:
        self.parts = parts

    @property
    def logprobs(self) -> Tensor:
        """float32 [N], filled by evaluation."""
        return self.parts[0][1].logprobs

    @property
    def clipped(self) -> Tensor | None:
        """What the first part clipped."""
        return self.parts[0][1].clipped

    def __call__(self, logits: Tensor, span: slice, want_grad: bool) -> tuple[Tensor, Tensor | None]:
        """See `ChunkLoss`."""
        total, slope = torch.zeros(len(logits), dtype=logits.dtype, device=logits.device), None
        for number, (coefficient, part) in enumerate(self.parts):
            c = coefficient[span].to(logits.dtype)
            if number and not bool(c.any()):
                continue
            value, grad = part(logits.clone(), span, want_grad)
            # A part that is switched off may be infinite there.
            total = total + (c * value).masked_fill(c == 0, 0.0)
            if grad is not None:
                grad = grad.mul_(c[:, None]).masked_fill_((c == 0)[:, None], 0.0)
                slope = grad if slope is None else slope.add_(grad)
        return total, slope
