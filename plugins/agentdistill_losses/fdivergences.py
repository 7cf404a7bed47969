"""f-divergences sum q f(u), u = p / q: total variation, chi-square and the alpha family (survey, arXiv 2604.00626).

Notation as in `divergences`: p teacher, q student. Beyond a log-ratio of `CAP` nats the generator f is continued by its
tangent. It stays convex, so what is computed is still an f-divergence with its minimum at p = q, and it stays finite in
float32, where exp(2 CAP) fits and the square of an unbounded ratio does not.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agentdistill_losses.divergences import ForwardKL, ReverseKL
from agentdistill_losses.skew import rounded_sign, through_softmax

CAP = 20.0
"""Log-ratio, nats, beyond which the generators are straight lines."""


class TotalVariation:
    """0.5 sum |p - q| in [0, 1]: bounded, and deaf to by how many orders of magnitude a small probability is off."""

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The divergence of each row, [n]."""
        q, p = student.exp(), teacher.exp()
        return 0.5 * ((q - p) * rounded_sign(q.detach(), p)).sum(-1)

    def with_gradient(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Values, and d/dq = sign(q - p) / 2 (0 where they are equal) taken through the softmax."""
        q = student.exp_()
        p = teacher.exp_()
        slope = rounded_sign(q, p)
        value = 0.5 * torch.linalg.vecdot(p.neg_().add_(q), slope)
        return value, through_softmax(q, slope.mul_(0.5))


class _Generated:
    """A divergence by its generator f and by w = f(u) - u f'(u), the derivative of q f(p / q) with respect to q."""

    def generator(self, log_ratio: Tensor) -> Tensor:
        """f(exp(log_ratio)), of the same shape."""
        raise AssertionError("a generator is defined by the subclass")

    def slope(self, log_ratio: Tensor) -> Tensor:
        """f(u) - u f'(u) at u = exp(log_ratio), of the same shape."""
        raise AssertionError("a slope is defined by the subclass")

    def _tangent(self, like: Tensor) -> Tensor:
        cap = torch.full((), CAP, dtype=like.dtype, device=like.device)
        return (self.generator(cap) - self.slope(cap)) / cap.exp()

    def _value(self, q: Tensor, teacher: Tensor, log_ratio: Tensor, beyond: Tensor) -> Tensor:
        # Where the ratio was capped q u is less than p; the rest of p counts by the tangent's slope.
        rest = torch.where(beyond, teacher.exp() - q * torch.full_like(q, CAP).exp(), torch.zeros_like(q))
        return (q * self.generator(log_ratio) + self._tangent(q) * rest).sum(-1)

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The divergence of each row, [n]."""
        gap = teacher - student
        return self._value(student.exp(), teacher, gap.clamp(max=CAP), gap.detach() > CAP)

    def with_gradient(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Values, and d/dq = f(u) - u f'(u) taken through the softmax."""
        gap = teacher - student
        beyond = gap > CAP
        log_ratio, q = gap.clamp_(max=CAP), student.exp_()
        return self._value(q, teacher, log_ratio, beyond), through_softmax(q, self.slope(log_ratio))


class ChiSquare(_Generated):
    """sum (p - q)^2 / q = sum p^2 / q - 1: the forward KL's direction, with the square of its temper."""

    def generator(self, log_ratio: Tensor) -> Tensor:
        """(u - 1)^2."""
        return torch.expm1(log_ratio) ** 2

    def slope(self, log_ratio: Tensor) -> Tensor:
        """1 - u^2."""
        return -torch.expm1(2.0 * log_ratio)


class AlphaDivergence(_Generated):
    """(sum p^a q^(1 - a) - 1) / (a (a - 1)), a > 0: reverse KL at 0, forward KL at 1, half of chi-square at 2."""

    def __init__(self, alpha: float) -> None:
        """Makes the divergence for alpha > 0 other than 1; see `alpha_divergence` for the limits."""
        if alpha <= 0.0 or alpha == 1.0:
            raise ValueError(f"alpha must be positive and other than 1, got {alpha}")
        self.alpha = alpha

    def generator(self, log_ratio: Tensor) -> Tensor:
        """(u^a - 1 - a (u - 1)) / (a (a - 1))."""
        a = self.alpha
        return (torch.expm1(a * log_ratio) - a * torch.expm1(log_ratio)) / (a * (a - 1.0))

    def slope(self, log_ratio: Tensor) -> Tensor:
        """(1 - u^a) / a."""
        return torch.expm1(self.alpha * log_ratio) / -self.alpha


def alpha_divergence(alpha: float) -> ReverseKL | ForwardKL | AlphaDivergence:
    """The alpha-divergence for alpha >= 0, the reverse KL at 0 and the forward KL at 1 by their limits."""
    if alpha == 0.0:
        return ReverseKL()
    return ForwardKL() if alpha == 1.0 else AlphaDivergence(alpha)
