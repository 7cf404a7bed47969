"""What step weights and token weights see: detached numbers about every turn and every token of a batch.

Turns are told apart by explicit step ids, never by runs of the loss mask: two turns with nothing between them
(an observation of zero tokens) stay two turns.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class TokenStatistics:
    """The distilled tokens of a batch, flat, ordered by trajectory, row and position.

    Attributes:
        trajectory: int64 [N], index into the batch's trajectories.
        turn: int64 [N], turn index in the episode (`Step.index`).
        column: int64 [N], column of the token's turn in `StepStatistics`.
        position: int64 [N], position of the token in its response, from 0, dead tokens counted.
        token_id: int64 [N].
        old_logprob: float32 [N], log-probability under the behaviour policy, nats.
        teacher_logprob: float32 [N], log-probability under the teacher, nats.
        teacher_entropy: float32 [N], nats; NaN where the teacher did not report it.
    """

    trajectory: Tensor
    turn: Tensor
    column: Tensor
    position: Tensor
    token_id: Tensor
    old_logprob: Tensor
    teacher_logprob: Tensor
    teacher_entropy: Tensor

    def __len__(self) -> int:
        return len(self.trajectory)

    def select(self, index: Tensor, device: torch.device) -> TokenStatistics:
        """Some of the tokens, on a device."""
        return TokenStatistics(*(getattr(self, field.name)[index].to(device) for field in fields(self)))

    @property
    def log_ratio(self) -> Tensor:
        """float32 [N], `old_logprob - teacher_logprob`: the sampled estimate of the reverse KL, nats."""
        return self.old_logprob - self.teacher_logprob


@dataclass(frozen=True, slots=True)
class StepStatistics:
    """The turns of a batch that have at least one distilled token, left-aligned and padded.

    Column 0 is a trajectory's first such turn, whatever its index in the episode (a replayed prefix comes before
    it). Padding has `mask` False and zeros elsewhere. Everything comes from rollout and teacher scores, so
    nothing here carries a gradient.

    Attributes:
        index: int64 [trajectories, steps], turn index in the episode.
        mask: bool [trajectories, steps], True for real turns.
        tokens: int64 [trajectories, steps], distilled tokens of the turn.
        abs_log_ratio: float32 [trajectories, steps], mean |log pi_old - log pi_T| over the turn's tokens, nats.
        log_ratio: float32 [trajectories, steps], mean (log pi_old - log pi_T), the sampled reverse KL, nats.
        old_logprob: float32 [trajectories, steps], mean log-probability under the behaviour policy, nats.
        teacher_logprob: float32 [trajectories, steps], mean log-probability under the teacher, nats.
    """

    index: Tensor
    mask: Tensor
    tokens: Tensor
    abs_log_ratio: Tensor
    log_ratio: Tensor
    old_logprob: Tensor
    teacher_logprob: Tensor

    @property
    def shape(self) -> torch.Size:
        """[trajectories, steps]."""
        return self.mask.shape


def turn_columns(trajectory: Tensor, turn: Tensor) -> Tensor:
    """Numbers each trajectory's distinct turns from 0 in increasing order.

    Args:
        trajectory: int64 [N].
        turn: int64 [N], non-negative.

    Returns:
        int64 [N], the column of each token's turn among its trajectory's turns.
    """
    if len(trajectory) == 0:
        return trajectory.clone()
    stride = int(turn.max()) + 1
    pairs, inverse = torch.unique(trajectory * stride + turn, sorted=True, return_inverse=True)
    owner = torch.div(pairs, stride, rounding_mode="floor")
    ones = torch.ones_like(owner)
    first = torch.zeros(int(owner.max()) + 2, dtype=torch.int64, device=owner.device).scatter_add_(0, owner + 1, ones)
    return (torch.arange(len(pairs), device=pairs.device) - first.cumsum(0)[owner])[inverse]


def step_statistics(tokens: TokenStatistics, trajectories: int) -> StepStatistics:
    """Averages token statistics over turns.

    Args:
        tokens: the batch's distilled tokens.
        trajectories: number of trajectories in the batch (some may have no distilled token).

    Returns:
        The padded statistics; at least one column, so that an empty batch still has a shape.
    """
    device = tokens.trajectory.device
    width = int(tokens.column.max()) + 1 if len(tokens) else 1
    flat = tokens.trajectory * width + tokens.column
    cells = trajectories * width
    count = torch.zeros(cells, dtype=torch.int64, device=device).scatter_add_(0, flat, torch.ones_like(flat))
    index = torch.zeros(cells, dtype=torch.int64, device=device).scatter_(0, flat, tokens.turn)

    def mean(values: Tensor) -> Tensor:
        # Sums in float64: a turn's mean must not depend on how long its neighbours are.
        total = torch.zeros(cells, dtype=torch.float64, device=device).scatter_add_(0, flat, values.double())
        return (total / count.clamp(min=1)).float().view(trajectories, width)

    return StepStatistics(
        index=index.view(trajectories, width),
        mask=(count > 0).view(trajectories, width),
        tokens=count.view(trajectories, width),
        abs_log_ratio=mean(tokens.log_ratio.abs()),
        log_ratio=mean(tokens.log_ratio),
        old_logprob=mean(tokens.old_logprob),
        teacher_logprob=mean(tokens.teacher_logprob),
    )
