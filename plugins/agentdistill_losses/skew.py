"""Skewed Kullback-Leibler divergences (DistiLLM, arXiv 2402.03898): a little of one side mixed into the other.

The mixture keeps every ratio finite: at most 1 / skew instead of unbounded. Notation as in `divergences`: p teacher,
q student, z the student's logits.
"""

from __future__ import annotations

import torch
from torch import Tensor


def through_softmax(q: Tensor, slope: Tensor) -> Tensor:
    """The gradient with respect to logits, q (g - <q, g>), from the gradient g with respect to probabilities.

    Args:
        q: [n, V], probabilities.
        slope: [n, V], overwritten.

    Returns:
        [n, V]. A constant added to `slope` changes nothing.
    """
    return slope.sub_(torch.linalg.vecdot(q, slope)[:, None]).mul_(q)


def rounded_sign(q: Tensor, p: Tensor) -> Tensor:
    """sign(q - p), and 0 within 32 rounding errors of equality, so that equal distributions are at rest.

    Two ways of computing one probability differ by rounding; the sign of that would be a gradient of full size.
    """
    gap = q - p
    return gap.sign().masked_fill_(gap.abs() <= 32.0 * torch.finfo(q.dtype).eps * (q + p), 0.0)


def log_mixture(first: Tensor, second: Tensor, share: float) -> Tensor:
    """log(share exp(first) + (1 - share) exp(second)), elementwise, for 0 < share < 1."""
    one = torch.tensor(share, dtype=first.dtype, device=first.device)
    return torch.logaddexp(first + one.log(), second + torch.log1p(-one))


class _Skewed:
    def __init__(self, skew: float) -> None:
        """Makes the divergence for 0 < skew < 1."""
        if not 0.0 < skew < 1.0:
            raise ValueError(f"skew must lie strictly between 0 and 1, got {skew}")
        self.skew = skew


class SkewKL(_Skewed):
    """KL(p || m) with m = skew p + (1 - skew) q (Eq. 3 there). The forward KL as skew goes to 0."""

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The divergence of each row, [n]."""
        return (teacher.exp() * (teacher - log_mixture(teacher, student, self.skew))).sum(-1)

    def with_gradient(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Values, and d/dq = -(1 - skew) p / m taken through the softmax."""
        gap = teacher - log_mixture(teacher, student, self.skew)
        value = torch.linalg.vecdot(teacher.exp_(), gap)
        return value, through_softmax(student.exp_(), gap.exp_().mul_(self.skew - 1.0))


class SkewReverseKL(_Skewed):
    """KL(q || m) with m = (1 - skew) p + skew q (Eq. 4 there). The reverse KL as skew goes to 0."""

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The divergence of each row, [n]."""
        return (student.exp() * (student - log_mixture(student, teacher, self.skew))).sum(-1)

    def with_gradient(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Values, and d/dq = log q / m - skew q / m (up to a constant) taken through the softmax."""
        gap = student - log_mixture(student, teacher, self.skew)
        q = student.exp_()
        value = torch.linalg.vecdot(q, gap)
        return value, through_softmax(q, gap.sub_(gap.exp().mul_(self.skew)))
