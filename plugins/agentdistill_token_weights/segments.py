"""Responses and episodes as runs of neighbouring tokens, and what token weights compute within them.

`TokenStatistics` is ordered by trajectory, row and position, so the tokens of a response (and of an episode) are
neighbours. Everything here is linear in the number of tokens, but for the sorting in `ranks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from agentdistill.learner.statistics import TokenStatistics

Scope = Literal["response", "episode", "batch"]


@dataclass(frozen=True, slots=True)
class Segments:
    """Runs of tokens.

    Attributes:
        index: int64 [N], the run of each token, from 0.
        start: int64 [S], first token of each run.
        size: int64 [S], tokens of each run.
    """

    index: Tensor
    start: Tensor
    size: Tensor

    @property
    def offset(self) -> Tensor:
        """int64 [N], place of each token in its run, from 0."""
        return torch.arange(len(self.index), device=self.index.device) - self.start[self.index]

    def total(self, values: Tensor) -> Tensor:
        """float64 [S], the sum of float values [N] over each run."""
        zeros = torch.zeros(len(self.size), dtype=torch.float64, device=values.device)
        return zeros.scatter_add_(0, self.index, values.double())

    def before(self, values: Tensor) -> Tensor:
        """float64 [N], the sum of the values [N] of the tokens before each one in its run; exactly 0 at its start."""
        exclusive = values.double().cumsum(0) - values.double()
        return exclusive - exclusive[self.start][self.index]

    def extent(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Smallest and largest of the values [N] in each run, [S] each."""
        low = torch.full((len(self.size),), torch.inf, dtype=values.dtype, device=values.device)
        high = torch.full_like(low, -torch.inf)
        low.scatter_reduce_(0, self.index, values, "amin")
        high.scatter_reduce_(0, self.index, values, "amax")
        return low, high

    def min_max(self, values: Tensor, flat: float = 0.5) -> Tensor:
        """Float64 [N], values [N] scaled to [0, 1] in each run; `flat` where they are all the same."""
        low, high = self.extent(values.double())
        span = (high - low)[self.index]
        scaled = (values.double() - low[self.index]) / span.clamp(min=1e-8)
        return torch.where(span < 1e-8, torch.full_like(scaled, flat), scaled)

    def ranks(self, values: Tensor) -> Tensor:
        """int64 [N], 0 for the largest of the values [N] in its run; ties go to the earlier token."""
        order = torch.sort(values, descending=True, stable=True).indices
        order = order[torch.sort(self.index[order], stable=True).indices]
        ranks = torch.empty_like(order)
        ranks[order] = self.offset
        return ranks


def segments(tokens: TokenStatistics, scope: Scope) -> Segments:
    """Cuts a batch's tokens.

    Args:
        tokens: the batch.
        scope: runs are responses, episodes, or the batch as one.
    """
    count, device = len(tokens), tokens.trajectory.device
    if not count:
        empty = torch.zeros(0, dtype=torch.int64, device=device)
        return Segments(empty, empty, empty)
    first = torch.ones(count, dtype=torch.bool, device=device)
    first[1:] = False
    if scope != "batch":
        first[1:] = tokens.trajectory[1:] != tokens.trajectory[:-1]
    if scope == "response":
        first[1:] |= tokens.turn[1:] != tokens.turn[:-1]
    start = first.nonzero().squeeze(1)
    size = torch.diff(start, append=torch.tensor([count], device=device))
    return Segments(first.cumsum(0) - 1, start, size)
