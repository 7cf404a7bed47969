"""Trajectories and teacher scores become flat, checked arrays: which tokens are trained, with what, and where they are.

This is the only place where masks are made. A token is distilled when the student sampled it, its turn has the
role DISTILL and the teacher has an opinion on it; it is imitated when its turn has the role IMITATE.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from agentdistill.errors import TrainingError
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
        counts: what was left out and why, for logs: `episodes/aborted`, `tokens/dead`, `tokens/context`, ...
    """

    trajectories: list[Trajectory]
    rows: list[RowRef]
    distill: TokenSet
    imitate: TokenSet
    tokens: TokenStatistics
    counts: dict[str, int] = field(default_factory=dict)


def task_name(trajectory: Trajectory) -> str:
    """How errors name an episode."""
    return f"{trajectory.task.env}/{trajectory.task.split}/{trajectory.task.key} (sample {trajectory.sample})"


def _fail(trajectory: Trajectory, row: int, why: str) -> TrainingError:
    return TrainingError(
        f"Row {row} of the episode {task_name(trajectory)} cannot be trained on.",
        why,
        "This is a fault of the rollout or the teacher that made it, not of the settings; nothing was trained.",
    )


def _check_row(trajectory: Trajectory, number: int, row: TokenRow) -> npt.NDArray[np.int64]:
    """Checks one row's contract and returns, for each token, the list position of its step or -1."""
    place = {step.index: i for i, step in enumerate(trajectory.steps)}
    table = np.full(max(place, default=-1) + 2, -2, dtype=np.int64)
    for index, i in place.items():
        table[index] = i
    table[-1] = CONTEXT  # step_of_token == -1 reads the last entry
    ids = row.step_of_token
    if len(ids) and (ids.min() < CONTEXT or ids.max() > len(table) - 2):
        raise _fail(trajectory, number, "A token belongs to a step that the episode does not have.")
    owner = table[ids]
    if bool((owner == -2).any()):
        raise _fail(trajectory, number, "A token belongs to a step that the episode does not have.")
    if bool((row.mask & (owner == CONTEXT)).any()):
        raise _fail(trajectory, number, "A context token is marked as sampled by the student.")
    if bool((row.mask & ~np.isfinite(row.old_logprob)).any()):
        raise _fail(trajectory, number, "A token sampled by the student has no finite behaviour log-probability.")
    return owner


def _own_span(trajectory: Trajectory, number: int, length: int) -> npt.NDArray[np.bool_]:
    """Tokens inside the spans of the steps that were written in this row."""
    inside = np.zeros(length, dtype=bool)
    for step in trajectory.steps:
        if step.row == number:
            if not 0 <= step.start <= step.end <= length:
                raise _fail(
                    trajectory, number, f"Turn {step.index} says [{step.start}, {step.end}) of {length} tokens."
                )
            inside[step.start : step.end] = True
    return inside


def _check_scores(trajectory: Trajectory, number: int, row: TokenRow, scores: TeacherScores, hidden: bool) -> None:
    lengths = {len(row), len(scores.sampled_logprob), len(scores.valid)}
    if hidden:
        if scores.hidden is None:
            raise _fail(trajectory, number, "The loss needs the teacher's hidden states and the scores carry none.")
        lengths.add(len(scores.hidden))
    if len(lengths) != 1:
        raise _fail(trajectory, number, f"The row and its teacher scores differ in length: {sorted(lengths)}.")


@dataclass(slots=True)
class _Collector:
    """Arrays of one branch while they grow."""

    parts: list[tuple[npt.NDArray[np.int64], ...]] = field(default_factory=list)

    def add(self, *columns: Any) -> None:
        length = max(np.size(c) for c in columns)
        self.parts.append(tuple(np.broadcast_to(np.asarray(c, dtype=np.int64), (length,)) for c in columns))

    def token_set(self) -> TokenSet:
        if not self.parts:
            return TokenSet(*(torch.zeros(0, dtype=torch.int64) for _ in range(5)))
        return TokenSet(*(torch.from_numpy(np.concatenate(column)) for column in zip(*self.parts, strict=True)))


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
    if distill and scores is None and any(s.loss_role is LossRole.DISTILL for t in trajectories for s in t.steps):
        raise TrainingError(
            "The batch has turns to distil and no teacher scores.",
            "",
            "Give the run a teacher, or imitate these turns.",
        )
    if scores is not None and len(scores) != len(trajectories):
        raise TrainingError(f"There are {len(trajectories)} episodes but scores for {len(scores)}.")
    counts = dict.fromkeys(
        ("episodes/used", "episodes/aborted", "tokens/context", "tokens/dead", "tokens/unused", "tokens/rows"), 0
    )
    kept: list[Trajectory] = []
    rows: list[RowRef] = []
    branches = {LossRole.DISTILL: _Collector(), LossRole.IMITATE: _Collector()}
    floats: dict[str, list[npt.NDArray[np.float32]]] = {"old": [], "teacher": [], "entropy": []}
    positions: list[npt.NDArray[np.int64]] = []

    for source, trajectory in enumerate(trajectories):
        if trajectory.stop is StopReason.ABORTED:
            counts["episodes/aborted"] += 1
            continue
        t = len(kept)
        kept.append(trajectory)
        opinions = None if scores is None else scores[source]
        if opinions is not None and len(opinions) != len(trajectory.rows):
            raise _fail(trajectory, 0, f"It has {len(trajectory.rows)} rows but scores for {len(opinions)}.")
        roles = np.array([list(LossRole).index(step.loss_role) for step in trajectory.steps] + [-1])
        turns = np.array([step.index for step in trajectory.steps] + [CONTEXT])
        starts = np.array([step.start for step in trajectory.steps] + [0])
        for number, row in enumerate(trajectory.rows):
            owner = _check_row(trajectory, number, row)
            own = _own_span(trajectory, number, len(row))
            if bool((row.mask & ~own).any()):
                raise _fail(trajectory, number, "A sampled token lies outside the span of the turn that wrote it.")
            role = roles[owner]
            wanted = row.mask & (role == list(LossRole).index(LossRole.DISTILL)) & distill
            copied = own & (owner != CONTEXT) & (role == list(LossRole).index(LossRole.IMITATE))
            live = np.zeros(len(row), dtype=bool)
            opinion = None
            if distill and opinions is not None:
                opinion = opinions[number]
                _check_scores(trajectory, number, row, opinion, hidden and bool(wanted.any()))
                live = wanted & opinion.valid & ~np.isnan(opinion.sampled_logprob)
                if bool(np.isinf(opinion.sampled_logprob[live]).any()):
                    raise _fail(trajectory, number, "The teacher gives an infinite log-probability and calls it valid.")
            counts["tokens/dead"] += int((wanted & ~live).sum())
            counts["tokens/unused"] += int((row.mask & ~wanted & ~copied).sum())
            counts["tokens/context"] += int((owner == CONTEXT).sum())
            counts["tokens/rows"] += len(row)
            trained = np.flatnonzero(live | copied)
            if not len(trained):
                continue
            if trained[0] == 0:
                raise _fail(trajectory, number, "Its first token is to be trained, but no token comes before it.")
            rows.append(RowRef(t, number, row.token_ids[: trained[-1] + 1], opinion.hidden if opinion else None))
            for which, chosen in ((LossRole.DISTILL, live), (LossRole.IMITATE, copied)):
                at = np.flatnonzero(chosen)
                if len(at):
                    branches[which].add(len(rows) - 1, at, t, turns[owner[at]], row.token_ids[at])
            if opinion is not None:
                at = np.flatnonzero(live)
                floats["old"].append(row.old_logprob[at])
                floats["teacher"].append(opinion.sampled_logprob[at])
                nothing = np.full(len(at), np.nan, dtype=np.float32)
                floats["entropy"].append(nothing if opinion.entropy is None else opinion.entropy[at])
                positions.append(at - starts[owner[at]])

    counts["episodes/used"] = len(kept)
    tokens, imitate = branches[LossRole.DISTILL].token_set(), branches[LossRole.IMITATE].token_set()
    counts["tokens/distill"], counts["tokens/imitate"] = len(tokens), len(imitate)

    def flat(parts: list[Any], dtype: Any) -> Tensor:
        return torch.from_numpy(np.concatenate([np.zeros(0, dtype=dtype), *parts]).astype(dtype, copy=False))

    statistics = TokenStatistics(
        trajectory=tokens.trajectory,
        turn=tokens.turn,
        column=turn_columns(tokens.trajectory, tokens.turn),
        position=flat(positions, np.int64),
        token_id=tokens.token_id,
        old_logprob=flat(floats["old"], np.float32),
        teacher_logprob=flat(floats["teacher"], np.float32),
        teacher_entropy=flat(floats["entropy"], np.float32),
    )
    return LearnerBatch(kept, rows, tokens, imitate, statistics, counts)
