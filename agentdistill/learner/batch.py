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
from agentdistill.learner.facts import BatchExtras, episode_facts, overlap, token_roles, turn_values, were_cut
from agentdistill.learner.rows import RowMasks, broken, read_row, step_table
from agentdistill.learner.statistics import EpisodeFacts, TokenRole, TokenStatistics, turn_columns
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
        facts: what is known of the episodes.
        top_ids: int64 [N, k], the teacher's most likely ids at the distilled tokens; None when not asked for.
        top_logprobs: float32 [N, k], their log-probabilities; None as above.
        rewarded: there is an RL advantage for the distilled tokens.
        source: int64 [N], which of several teachers scored each distilled token, -1 unknown; None with a single one.
        counts: what was used and what was left out, for logs: `episodes/aborted`, `tokens/dead`, ...
    """

    trajectories: list[Trajectory]
    rows: list[RowRef]
    distill: TokenSet
    imitate: TokenSet
    tokens: TokenStatistics
    facts: EpisodeFacts | None = None
    top_ids: Tensor | None = None
    top_logprobs: Tensor | None = None
    rewarded: bool = False
    source: Tensor | None = None
    counts: dict[str, int] = field(default_factory=dict)


class _Columns:
    """Flat int64 and float32 columns while they grow."""

    def __init__(self, *names: str) -> None:
        self.parts: dict[str, list[Any]] = {name: [] for name in names}

    def add(self, **columns: Any) -> None:
        """Adds one row's values; scalars are repeated."""
        length = max(len(column) if isinstance(column, np.ndarray) else 1 for column in columns.values())
        for name, column in columns.items():
            self.parts[name].append(column if isinstance(column, np.ndarray) else np.full(length, column))

    def tensors(self, dtype: Any, *names: str) -> list[Tensor]:
        """The named columns."""
        empty = [np.zeros(0, dtype=dtype)]
        return [torch.from_numpy(np.concatenate(self.parts[name] or empty).astype(dtype)) for name in names]


_PLACE = ("row", "position", "trajectory", "turn", "token_id")
_SCORES = ("old_logprob", "teacher_logprob", "teacher_entropy")
_MORE = ("teacher_confidence", "old_entropy", "overlap", "reference_logprob", "advantage", "teacher_rest")
_UNKNOWN = np.float32(np.nan)


def assemble(
    trajectories: Sequence[Trajectory],
    scores: Sequence[Sequence[TeacherScores]] | None,
    *,
    distill: bool = True,
    hidden: bool = False,
    top_k: bool = False,
    extras: BatchExtras | None = None,
    tokenizer: Any = None,
) -> LearnerBatch:
    """Makes the arrays of one optimiser step.

    Args:
        trajectories: the batch's episodes; aborted ones are counted and left out.
        scores: one `TeacherScores` per row per trajectory, or None when nothing is distilled.
        distill: whether there is a distillation loss or an RL advantage; without either, tokens of the role DISTILL are
            counted as unused.
        hidden: whether the loss needs the teacher's hidden states.
        top_k: whether the loss needs the teacher's most likely ids.
        extras: rewards, advantages and reference log-probabilities, as far as the run has them.
        tokenizer: the student's, to tell the roles of tokens; None leaves them unknown.

    Returns:
        The batch. Tokens without a usable score are counted as dead and left out, never zeroed.

    Raises:
        TrainingError: an episode breaks the contract of its records, or has scores of another length.
    """
    extras = extras or BatchExtras()
    alone = scores is None and extras.advantages is not None  # rewards only, no teacher
    _check_scored(trajectories, scores, distill and not alone)
    kept: list[Trajectory] = []
    rows: list[RowRef] = []
    distilled = _Columns(*_PLACE, "offset", "role", "span", "source", "top_ids", "top_logprobs", *_SCORES, *_MORE)
    imitated = _Columns(*_PLACE)
    rewards: list[npt.NDArray[np.float32]] = []
    counts = dict.fromkeys(
        ("tokens/context", "tokens/dead", "tokens/unused", "tokens/rows", "rows/asked", "rows/dead"), 0
    )
    for source, trajectory in enumerate(trajectories):
        if trajectory.stop is StopReason.ABORTED:
            continue
        kept.append(trajectory)
        if extras.rewards is not None:
            rewards.append(extras.rewards[source])
        advantage = None if extras.advantages is None else _by_turn(trajectory, extras.advantages[source])
        opinions = scores[source] if scores is not None and distill else [None] * len(trajectory.rows)
        if len(opinions) != len(trajectory.rows):
            raise broken(trajectory, 0, f"It has {len(trajectory.rows)} rows but scores for {len(opinions)}.")
        steps = step_table(trajectory)
        for number, (row, opinion) in enumerate(zip(trajectory.rows, opinions, strict=True)):
            masks = read_row(trajectory, number, steps, opinion, distill=distill, hidden=hidden, alone=alone)
            counts["tokens/context"] += int((masks.turn == CONTEXT).sum())
            counts["tokens/dead"] += int(masks.dead.sum())
            counts["tokens/unused"] += int(masks.unused.sum())
            counts["tokens/rows"] += len(row)
            asked, answered = bool((masks.distill | masks.dead).any()), bool(masks.distill.any())
            counts["rows/asked"] += asked
            counts["rows/dead"] += asked and not answered
            trained = np.flatnonzero(masks.distill | masks.imitate)
            if not len(trained):
                continue
            place = (len(rows), len(kept) - 1)
            roles = None if tokenizer is None else token_roles(trajectory, number, tokenizer)
            states = opinion.hidden if opinion is not None else None
            rows.append(RowRef(len(kept) - 1, number, row.token_ids[: trained[-1] + 1], states))
            if len(at := np.flatnonzero(masks.imitate)):
                imitated.add(**_places(place, row, masks, at))
                _count_roles(counts, "imitate", roles, at)
            if not len(at := np.flatnonzero(masks.distill)):
                continue
            _count_roles(counts, "distill", roles, at)
            known = opinion or _NOBODY
            shared = _UNKNOWN if opinion is None else overlap(row, opinion)[at]
            top = {}
            if top_k:
                if known.topk_ids is None or known.topk_logprobs is None:
                    raise broken(trajectory, number, "The loss needs the teacher's top k and the scores carry none.")
                top = {"top_ids": known.topk_ids[at], "top_logprobs": known.topk_logprobs[at]}
            distilled.add(
                **_places(place, row, masks, at),
                **top,
                offset=masks.offset[at],
                role=0 if roles is None else roles[at],
                old_logprob=row.old_logprob[at],
                teacher_logprob=_at(None if opinion is None else opinion.sampled_logprob, at),
                teacher_entropy=_at(known.entropy, at),
                teacher_confidence=_at(known.confidence, at),
                old_entropy=_at(row.old_entropy, at),
                overlap=shared,
                reference_logprob=_UNKNOWN if extras.reference is None else extras.reference[source][number][at],
                advantage=_UNKNOWN if advantage is None else advantage[masks.turn[at]],
                span=0 if known.span is None else known.span[at],
                source=-1 if known.source is None else known.source[at],
                teacher_rest=np.float32(0.0) if known.rest is None else known.rest[at],
            )
    tokens, copied = (TokenSet(*columns.tensors(np.int64, *_PLACE)) for columns in (distilled, imitated))
    (offset,) = distilled.tensors(np.int64, "offset")
    (role,) = distilled.tensors(np.int64, "role")
    span, said_by = distilled.tensors(np.int64, "span", "source")
    facts = episode_facts(kept, rewards if extras.rewards is not None else None)
    statistics = TokenStatistics(
        tokens.trajectory,
        tokens.turn,
        turn_columns(tokens.trajectory, tokens.turn),
        offset,
        tokens.token_id,
        **dict(zip((*_SCORES, *_MORE), distilled.tensors(np.float32, *_SCORES, *_MORE), strict=True)),
        role=role,
        span=span,
        group=facts.group[tokens.trajectory],
        success=facts.success[tokens.trajectory],
        reward=facts.reward[tokens.trajectory],
        cut=were_cut(kept)[tokens.trajectory],
    )
    counts |= {
        "episodes/used": len(kept),
        "episodes/aborted": len(trajectories) - len(kept),
        "tokens/distill": len(tokens),
        "tokens/imitate": len(copied),
    }
    return LearnerBatch(
        kept,
        rows,
        tokens,
        copied,
        statistics,
        facts,
        distilled.tensors(np.int64, "top_ids")[0] if top_k else None,
        distilled.tensors(np.float32, "top_logprobs")[0] if top_k else None,
        extras.advantages is not None,
        said_by if bool((said_by >= 0).any()) else None,
        counts,
    )


def _count_roles(
    counts: dict[str, int], objective: str, roles: npt.NDArray[np.int64] | None, at: npt.NDArray[np.int64]
) -> None:
    """Counts tokens of an objective by what they are in their response, where that is known."""
    if roles is not None:
        for role, number in zip(TokenRole, np.bincount(roles[at], minlength=len(TokenRole)).tolist(), strict=True):
            name = f"tokens/{objective}/{role.name.lower()}"
            counts[name] = counts.get(name, 0) + number


_NOBODY = TeacherScores(np.zeros(0, dtype=np.float32), np.zeros(0, dtype=bool))


def _at(values: npt.NDArray[np.float32] | None, at: npt.NDArray[np.int64]) -> Any:
    """Values at positions, NaN when there are none."""
    return _UNKNOWN if values is None else values[at]


def _by_turn(trajectory: Trajectory, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """One number per turn index, NaN for indices that no step has."""
    if len(values) != len(trajectory.steps):
        raise broken(trajectory, 0, f"It has {len(trajectory.steps)} steps but advantages for {len(values)}.")
    placed = np.full(max((s.index for s in trajectory.steps), default=-1) + 1, np.nan, dtype=np.float32)
    for index, value in turn_values(trajectory, values).items():
        placed[index] = value
    return placed


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
