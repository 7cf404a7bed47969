"""Trajectories and teacher scores become flat arrays: which tokens are trained, with what, and where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from agentdistill.errors import TrainingError
from agentdistill.learner.rows import RowMasks, broken, read_row, step_table
from agentdistill.learner.statistics import TokenStatistics, turn_columns
from agentdistill.records import CONTEXT, LossRole, StopReason, TeacherScores, TokenRow, Trajectory


@dataclass(frozen=True, slots=True)
class RowRef:
    """A row with at least one trained token.

    Attributes:
        trajectory: index into `LearnerBatch.trajectories`.
        row: index into that trajectory's rows.
        token_ids: int32, the row up to its last trained token (what follows it cannot influence the loss).
        hidden: the teacher's hidden states of the row, or None.
    """

    trajectory: int
    row: int
    token_ids: npt.NDArray[np.int32]
    hidden: Any = None


@dataclass(frozen=True, slots=True)
class TokenSet:
    """Trained tokens of one branch, flat, ordered by trajectory, row and position.

    Attributes:
        row: int64 [N], index into `LearnerBatch.rows`.
        position: int64 [N], position in the row, at least 1.
        trajectory: int64 [N].
        turn: int64 [N], turn index in the episode.
        token_id: int64 [N].
    """

    row: Tensor
    position: Tensor
    trajectory: Tensor
    turn: Tensor
    token_id: Tensor

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True, slots=True)
class LearnerBatch:
    """Everything one optimiser step needs besides the models.

    Attributes:
        trajectories: the episodes, aborted ones removed.
        rows: rows with trained tokens.
        distill: tokens of the distillation branch.
        imitate: tokens of the imitation branch.
        tokens: statistics of the distilled tokens, parallel to `distill`.
        counts: what was used and what was left out, for logs: `episodes/aborted`, `tokens/dead`, ...
    """

    trajectories: list[Trajectory]
    rows: list[RowRef]
    distill: TokenSet
    imitate: TokenSet
    tokens: TokenStatistics
    counts: dict[str, int] = field(default_factory=dict)


class _Columns:
    """Flat int64 and float32 columns while they grow."""

    def __init__(self, *names: str) -> None:
        self.parts: dict[str, list[Any]] = {name: [] for name in names}

    def add(self, **columns: Any) -> None:
        """Adds one row's values; scalars are repeated."""
        length = max(np.size(column) for column in columns.values())
        for name, column in columns.items():
            self.parts[name].append(np.broadcast_to(column, (length,)))

    def tensors(self, dtype: Any, *names: str) -> list[Tensor]:
        """The named columns."""
        empty = np.zeros(0, dtype=dtype)
        return [torch.from_numpy(np.concatenate([empty, *self.parts[name]]).astype(dtype)) for name in names]


_PLACE = ("row", "position", "trajectory", "turn", "token_id")
_SCORES = ("old_logprob", "teacher_logprob", "teacher_entropy")


def assemble(
    trajectories: Sequence[Trajectory],
    scores: Sequence[Sequence[TeacherScores]] | None,
    *,
    distill: bool = True,
    hidden: bool = False,
) -> LearnerBatch:
    """Makes the arrays of one optimiser step.

    Args:
        trajectories: the batch's episodes; aborted ones are counted and left out.
        scores: one `TeacherScores` per row per trajectory, or None when nothing is distilled.
        distill: whether there is a distillation loss; without one, tokens of the role DISTILL are counted as unused.
        hidden: whether the loss needs the teacher's hidden states.

    Returns:
        The batch. Tokens without a usable score are counted as dead and left out, never zeroed.

    Raises:
        TrainingError: an episode breaks the contract of its records, or has scores of another length.
    """
    _check_scored(trajectories, scores, distill)
    kept: list[Trajectory] = []
    rows: list[RowRef] = []
    distilled, imitated = _Columns(*_PLACE, "offset", *_SCORES), _Columns(*_PLACE)
    counts = dict.fromkeys(("tokens/context", "tokens/dead", "tokens/unused", "tokens/rows"), 0)
    for source, trajectory in enumerate(trajectories):
        if trajectory.stop is StopReason.ABORTED:
            continue
        kept.append(trajectory)
        opinions = scores[source] if scores is not None and distill else [None] * len(trajectory.rows)
        if len(opinions) != len(trajectory.rows):
            raise broken(trajectory, 0, f"It has {len(trajectory.rows)} rows but scores for {len(opinions)}.")
        steps = step_table(trajectory)
        for number, (row, opinion) in enumerate(zip(trajectory.rows, opinions, strict=True)):
            masks = read_row(trajectory, number, steps, opinion, distill=distill, hidden=hidden)
            counts["tokens/context"] += int((masks.turn == CONTEXT).sum())
            counts["tokens/dead"] += int(masks.dead.sum())
            counts["tokens/unused"] += int(masks.unused.sum())
            counts["tokens/rows"] += len(row)
            trained = np.flatnonzero(masks.distill | masks.imitate)
            if not len(trained):
                continue
            place = (len(rows), len(kept) - 1)
            states = opinion.hidden if opinion is not None else None
            rows.append(RowRef(len(kept) - 1, number, row.token_ids[: trained[-1] + 1], states))
            if len(at := np.flatnonzero(masks.imitate)):
                imitated.add(**_places(place, row, masks, at))
            if opinion is not None and len(at := np.flatnonzero(masks.distill)):
                entropy = np.float32(np.nan) if opinion.entropy is None else opinion.entropy[at]
                distilled.add(
                    **_places(place, row, masks, at),
                    offset=masks.offset[at],
                    old_logprob=row.old_logprob[at],
                    teacher_logprob=opinion.sampled_logprob[at],
                    teacher_entropy=entropy,
                )
    tokens, copied = (TokenSet(*columns.tensors(np.int64, *_PLACE)) for columns in (distilled, imitated))
    (offset,) = distilled.tensors(np.int64, "offset")
    statistics = TokenStatistics(
        tokens.trajectory,
        tokens.turn,
        turn_columns(tokens.trajectory, tokens.turn),
        offset,
        tokens.token_id,
        *distilled.tensors(np.float32, *_SCORES),
    )
    counts |= {
        "episodes/used": len(kept),
        "episodes/aborted": len(trajectories) - len(kept),
        "tokens/distill": len(tokens),
        "tokens/imitate": len(copied),
    }
    return LearnerBatch(kept, rows, tokens, copied, statistics, counts)


def _check_scored(
    trajectories: Sequence[Trajectory], scores: Sequence[Sequence[TeacherScores]] | None, distill: bool
) -> None:
    if scores is not None and len(scores) != len(trajectories):
        raise TrainingError(f"There are {len(trajectories)} episodes but scores for {len(scores)}.")
    if distill and scores is None and any(s.loss_role is LossRole.DISTILL for t in trajectories for s in t.steps):
        raise TrainingError(
            "The batch has turns to distil and no teacher scores.",
            "",
            "Give the run a teacher, or imitate these turns.",
        )


def _places(place: tuple[int, int], row: TokenRow, masks: RowMasks, at: npt.NDArray[np.int64]) -> dict[str, Any]:
    """The columns that say where tokens are."""
    return {
        "row": place[0],
        "position": at,
        "trajectory": place[1],
        "turn": masks.turn[at],
        "token_id": row.token_ids[at],
    }
