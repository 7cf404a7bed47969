"""Sums over whole episodes: length-normalised log-probabilities and what each token of an episode shares."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from agentdistill.learner.statistics import TokenStatistics


@dataclass(frozen=True, slots=True)
class Episodes:
    """The episodes of a batch that have trained tokens.

    Attributes:
        of_token: int64 [N], the episode of each token.
        length: float64 [E], trained tokens of each.
        score: float64 [E], mean log-probability per token under the behaviour policy.
        success: bool [E].
        failure: bool [E]; episodes that the curriculum cut are neither.
        group: int64 [E], episodes of one task share a number.
    """

    of_token: Tensor
    length: Tensor
    score: Tensor
    success: Tensor
    failure: Tensor
    group: Tensor

    def spread(self, slope: Tensor) -> Tensor:
        """The advantage per token, [N], of a loss with these slopes.

        A_t = -slope_e N / n_e: under `reduction = "token-mean"` the learner's gradient is then that of
        sum_e slope_e mean_t log pi(y_t).

        Args:
            slope: float64 [E], derivative of the loss with respect to each episode's mean log-probability.
        """
        count = len(self.of_token)
        return (-slope * count / self.length)[self.of_token].float()


def episodes(tokens: TokenStatistics) -> Episodes:
    """Gathers the episodes of a batch; see `Episodes`."""
    names, of_token = torch.unique(tokens.trajectory, return_inverse=True)
    zero = torch.zeros(len(names), dtype=torch.float64, device=names.device)
    length = zero.scatter_add(0, of_token, torch.ones_like(of_token, dtype=torch.float64))
    score = zero.scatter_add(0, of_token, tokens.old_logprob.double()) / length
    first = torch.full((len(names),), len(tokens), device=names.device).scatter_reduce(
        0, of_token, torch.arange(len(tokens), device=names.device), "amin"
    )
    won, cut = tokens.success[first], tokens.cut[first]
    return Episodes(of_token, length, score, won & ~cut, ~won & ~cut, tokens.group[first])
