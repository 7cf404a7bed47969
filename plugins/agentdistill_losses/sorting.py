"""Distances between distributions that forget which token is which: only the sorted probabilities count."""

from __future__ import annotations

import torch
from torch import Tensor

from agentdistill_losses.skew import rounded_sign


class SortedProbabilities:
    """sum |sort(q) - sort(p)|, largest first: the universal logit distillation loss (arXiv 2402.12030, Eq. 5).

    It is the Wasserstein-1 distance with a cost of 1 between any two tokens, made for vocabularies that differ. It is
    0 for every permutation of the teacher's distribution: over one shared vocabulary it teaches a shape and no content.
    """

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The distance of each row, [n]."""
        q = student.exp().sort(dim=-1, descending=True).values
        p = teacher.exp().sort(dim=-1, descending=True).values
        return ((q - p) * rounded_sign(q.detach(), p)).sum(-1)


def rank_listed(scores: Tensor, order: Tensor) -> Tensor:
    """`scores` [n, k] listed in the order of `order` [n, k], best first (stable, so ties keep their place)."""
    return scores.gather(-1, torch.argsort(order, dim=-1, descending=True, stable=True))


def plackett_luce(scores: Tensor) -> Tensor:
    """Minus the log-likelihood of a ranking under the Plackett-Luce model.

    L = -sum_i [s_i - logsumexp_{j >= i} s_j]: at each place the item is chosen among those that are left.

    Args:
        scores: [n, k], listed in the ranking's order, best first; differentiable.

    Returns:
        [n], at least 0, invariant under a shift of the scores; smallest among their orders when they decrease.
    """
    left = scores.flip(-1).logcumsumexp(-1).flip(-1)
    return (left - scores).sum(-1)


def prefix_plackett_luce(scores: Tensor) -> Tensor:
    """The form of the code released with arXiv 2603.13260: the log-sum over the places *before*, not those left.

    It is the likelihood of the reversed ranking, so it is smallest when the scores *increase*. For comparison only.
    """
    return (scores.logcumsumexp(-1) - scores).sum(-1)
