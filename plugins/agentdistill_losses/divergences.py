"""Divergences between next-token distributions, with their gradients.

Notation: p teacher, q student, z the student's logits. All functions work in place on their arguments where the
docstring of `AnalyticDivergence` allows it: at 152,000 tokens of vocabulary every copy of a chunk counts.
"""

from __future__ import annotations

import torch
from torch import Tensor


class ReverseKL:
    """KL(q || p) = sum q (log q - log p): mode seeking."""

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The divergence of each row, [n]."""
        return (student.exp() * (student - teacher)).sum(-1)

    def with_gradient(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Values and d/dz = q ((log q - log p) - KL)."""
        gap = teacher.neg_().add_(student)
        q = student.exp_()
        value = torch.linalg.vecdot(q, gap)
        return value, gap.sub_(value[:, None]).mul_(q)


class ForwardKL:
    """KL(p || q) = sum p (log p - log q): mass covering, the cross-entropy with soft labels up to a constant."""

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The divergence of each row, [n]."""
        return (teacher.exp() * (teacher - student)).sum(-1)

    def with_gradient(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Values and d/dz = q - p."""
        gap = teacher - student
        p = teacher.exp_()
        value = torch.linalg.vecdot(p, gap)
        return value, student.exp_().sub_(p)


class GeneralisedJSD:
    """beta KL(p || m) + (1 - beta) KL(q || m) with m = beta p + (1 - beta) q, beta in (0, 1).

    The convention of GKD (arXiv 2306.13649) as TRL implements it. The value goes to 0 as beta goes to 0 or 1, so
    those two ends are the forward and the reverse KL by decree: see `generalised_jsd`.
    """

    def __init__(self, beta: float) -> None:
        """Makes the divergence for 0 < beta < 1."""
        if not 0.0 < beta < 1.0:
            raise ValueError(f"beta must lie strictly between 0 and 1, got {beta}")
        self.beta = beta

    def _log_mixture(self, student: Tensor, teacher: Tensor) -> Tensor:
        beta = torch.tensor(self.beta, dtype=student.dtype, device=student.device)
        return torch.logaddexp(teacher + beta.log(), student + torch.log1p(-beta))

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The divergence of each row, [n]."""
        mixture = self._log_mixture(student, teacher)
        toward_teacher = (teacher.exp() * (teacher - mixture)).sum(-1)
        toward_student = (student.exp() * (student - mixture)).sum(-1)
        return self.beta * toward_teacher + (1 - self.beta) * toward_student

    def with_gradient(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Values and d/dz = (1 - beta) q (log q/m - KL(q || m))."""
        mixture = self._log_mixture(student, teacher)
        gap = student - mixture
        q = student.exp_()
        own = torch.linalg.vecdot(q, gap)
        mixture.neg_().add_(teacher)
        value = self.beta * torch.linalg.vecdot(teacher.exp_(), mixture) + (1 - self.beta) * own
        return value, gap.sub_(own[:, None]).mul_(q).mul_(1 - self.beta)


def generalised_jsd(beta: float) -> ForwardKL | ReverseKL | GeneralisedJSD:
    """The generalised JSD for beta in [0, 1]: forward KL at 0, reverse KL at 1 (the convention of TRL's GKD)."""
    if beta == 0.0:
        return ForwardKL()
    return ReverseKL() if beta == 1.0 else GeneralisedJSD(beta)
