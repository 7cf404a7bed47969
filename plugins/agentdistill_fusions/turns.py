"""What fusions by turn share: numbers of turns from numbers of tokens, and back.

A turn is a pair (trajectory, column); everything is vectorised over the flat tokens of a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agentdistill.learner.statistics import TokenStatistics


def turn_of_token(tokens: TokenStatistics) -> tuple[Tensor, Tensor]:
    """(turn [N]: number of each token's turn, from 0 in order; owner [T]: trajectory of each turn)."""
    width = int(tokens.column.max()) + 1 if len(tokens) else 1
    pairs, turn = torch.unique(tokens.trajectory * width + tokens.column, return_inverse=True)
    return turn, torch.div(pairs, width, rounding_mode="floor")


def totals(values: Tensor, index: Tensor, count: int) -> Tensor:
    """Sums of values by index, float64 [count]."""
    zeros = torch.zeros(count, dtype=torch.float64, device=values.device)
    return zeros.scatter_add_(0, index, values.double())


def means(values: Tensor, index: Tensor, count: int) -> Tensor:
    """Means of values by index, float64 [count]; 0 where there are none."""
    return totals(values, index, count) / totals(torch.ones_like(values), index, count).clamp(min=1.0)


def of_episode(values: Tensor, tokens: TokenStatistics) -> Tensor:
    """What is the same for all tokens of an episode, once for each, [episodes]; zero for episodes without tokens."""
    result = torch.zeros(int(tokens.trajectory.max()) + 1, dtype=values.dtype, device=values.device)
    return result.scatter_(0, tokens.trajectory, values)


def extremes(values: Tensor, index: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Smallest and largest value by index, float64 [count] each; inf and -inf where there are none."""
    values = values.double()
    low = torch.full((count,), torch.inf, dtype=torch.float64, device=values.device)
    high = -low
    return low.scatter_reduce(0, index, values, "amin"), high.scatter_reduce(0, index, values, "amax")


def min_max(values: Tensor, owner: Tensor, flat: float) -> Tensor:
    """Values of turns scaled to [0, 1] within each trajectory; `flat` where they differ by less than 1e-8.

    Args:
        values: [T], one number for each turn.
        owner: int64 [T], its trajectory.
        flat: what turns of a trajectory without differences get.
    """
    if not len(values):
        return values.double()
    low, high = extremes(values, owner, int(owner.max()) + 1)
    span = (high - low)[owner]
    scaled = (values.double() - low[owner]) / span.clamp(min=1e-8)
    return torch.where(span < 1e-8, torch.full_like(scaled, flat), scaled)
