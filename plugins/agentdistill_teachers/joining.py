"""One row's scores out of those of several teachers, turn by turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from agentdistill.records import ScoreRequest, TeacherScores, Trajectory
from agentdistill.teachers.scoring import SparseStates, unscored

FIELDS = ("sampled_logprob", "topk_ids", "topk_logprobs", "entropy", "confidence", "span", "rest")


def join_row(
    trajectory: Trajectory,
    number: int,
    route: Mapping[int, str],
    answers: Mapping[str, TeacherScores],
    places: Mapping[str, int],
    fill: str | None,
    request: ScoreRequest,
    columns: Mapping[str, tuple[int, int]],
) -> TeacherScores:
    """Puts a row together.

    Args:
        trajectory: the episode.
        number: which of its rows.
        route: the teacher of each turn, by turn index.
        answers: the scores of this row by teacher.
        places: the number of each teacher, for `source`.
        fill: who speaks where the chosen teacher has no opinion.
        request: what was asked.
        columns: where each teacher's hidden states stand; empty without any.

    Returns:
        The scores; tokens of no turn have none.
    """
    row = trajectory.rows[number]
    length, size = len(row), max((step.index for step in trajectory.steps), default=-1) + 1
    table = np.full(size + 1, -1, dtype=np.int16)  # the last entry is that of context, index -1
    for turn, name in route.items():
        table[turn] = places[name]
    wanted = table[row.step_of_token]
    source = np.full(length, -1, dtype=np.int16)
    for name, answer in answers.items():
        usable = answer.valid & np.isfinite(answer.sampled_logprob)
        source[usable & (wanted == places[name])] = places[name]
    if fill is not None and fill in answers:
        answer = answers[fill]
        source[(source < 0) & (wanted >= 0) & answer.valid & np.isfinite(answer.sampled_logprob)] = places[fill]
    result = unscored(row, request)
    if any(answer.span is not None for answer in answers.values()):
        result.span, result.rest = np.zeros(length, dtype=np.int32), np.zeros(length, dtype=np.float32)
    result.source, result.valid = source, source >= 0
    for name, answer in answers.items():
        at = np.flatnonzero(source == places[name])
        for field in FIELDS:
            mine, theirs = getattr(result, field), getattr(answer, field)
            if mine is not None and theirs is not None and len(at):
                mine[at] = theirs[at]
    if columns:
        result.hidden = _states(source, answers, places, columns)
    return result


def _states(
    source: npt.NDArray[np.int16],
    answers: Mapping[str, TeacherScores],
    places: Mapping[str, int],
    columns: Mapping[str, tuple[int, int]],
) -> Any:
    """Hidden states side by side: each teacher's in its own columns, 0 in those of the others."""
    positions = np.flatnonzero(source >= 0)
    states = torch.zeros(len(positions), max(end for _, end in columns.values()))
    for name, answer in answers.items():
        mine = np.flatnonzero(source[positions] == places[name])
        if len(mine):
            start, end = columns[name]
            states[torch.from_numpy(mine), start:end] = answer.hidden[torch.from_numpy(positions[mine])].float()
    return SparseStates(len(source), torch.from_numpy(positions), states)
