"""Puts scores of rows in which a teacher was shown something else back at the student's positions.

Prompts differ in length, responses do not: the score of the i-th token of a response belongs to the i-th token of the
same response in the student's row, whatever stands before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from agentdistill.errors import TrainingError
from agentdistill.records import ScoreRequest, TeacherScores, TokenRow, Trajectory
from agentdistill.teachers.rerender import Shown, Span
from agentdistill.teachers.scoring import SparseStates, unscored


def align_scores(
    trajectory: Trajectory, shown: Shown, scores: Sequence[TeacherScores], request: ScoreRequest
) -> list[TeacherScores]:
    """Moves scores to the student's rows by response offset.

    Args:
        trajectory: the episode as the student saw it.
        shown: the episode as the teacher was shown it.
        scores: the teacher's, one per row it was shown.
        request: what was asked.

    Returns:
        One `TeacherScores` per row of the student. Everything outside the scored responses is NaN and invalid.

    Raises:
        TrainingError: the teacher answered for other rows than it was shown.
    """
    lengths = [len(row) for row in shown.trajectory.rows]
    if [len(one.sampled_logprob) for one in scores] != lengths:
        raise TrainingError(
            f"The teacher's scores of the task {trajectory.task.key!r} do not fit the rows it was shown.",
            f"It was shown rows of {lengths} tokens and answered for {[len(one.sampled_logprob) for one in scores]}.",
            "This is a fault of the teacher inside the privileged one.",
        )
    return [
        _row(row, [span for span in shown.spans if span.row == number], scores, request)
        for number, row in enumerate(trajectory.rows)
    ]


def _row(row: TokenRow, spans: Sequence[Span], scores: Sequence[TeacherScores], request: ScoreRequest) -> TeacherScores:
    result = unscored(row, request)
    for name in ("sampled_logprob", "valid", "topk_ids", "topk_logprobs", "entropy", "confidence", "source"):
        for span in spans:
            given = getattr(scores[span.shown_row], name)
            if given is None:
                continue
            part = given[span.shown_start : span.shown_start + span.end - span.start]
            place = getattr(result, name)
            if place is None or place.shape[1:] != part.shape[1:]:
                place = _like(part, len(row))
                setattr(result, name, place)
            place[span.start : span.end] = part
    if request.hidden:
        result.hidden = _states(row, spans, scores) or result.hidden
    return result


def _states(row: TokenRow, spans: Sequence[Span], scores: Sequence[TeacherScores]) -> SparseStates | None:
    parts: list[torch.Tensor] = []
    at: list[npt.NDArray[np.int64]] = []
    for span in sorted(spans, key=lambda span: span.start):
        hidden: Any = scores[span.shown_row].hidden
        if hidden is None:
            continue
        count = span.end - span.start
        parts.append(torch.as_tensor(hidden[np.arange(span.shown_start, span.shown_start + count)]))
        at.append(np.arange(span.start, span.end))
    if not parts:
        return None
    return SparseStates(len(row), torch.from_numpy(np.concatenate(at)), torch.cat(parts))


def _like(part: npt.NDArray[Any], length: int) -> npt.NDArray[Any]:
    """An array of a row's length without any value: NaN, False, or -1 for ids."""
    fill: Any = False if part.dtype == np.bool_ else np.nan if part.dtype.kind == "f" else -1
    return np.full((length, *part.shape[1:]), fill, dtype=part.dtype)
