"""Reads one token row: checks its contract and says which tokens may be trained, with what.

This is the only place where masks are made. A token is distilled when the student sampled it, its turn has the role
DISTILL and the teacher has an opinion on it; it is imitated when its turn has the role IMITATE. Both only inside the
span of the turn, in the row where the turn was written: a rewritten history that repeats it is context.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agentdistill.errors import TrainingError
from agentdistill.records import CONTEXT, LossRole, TeacherScores, Trajectory

_CODE = {role: code for code, role in enumerate(LossRole)}
_UNKNOWN = -2


def task_name(trajectory: Trajectory) -> str:
    """How errors name an episode."""
    return f"{trajectory.task.env}/{trajectory.task.split}/{trajectory.task.key} (sample {trajectory.sample})"


def broken(trajectory: Trajectory, row: int, why: str) -> TrainingError:
    """The error for a record that breaks its contract."""
    return TrainingError(
        f"Row {row} of the episode {task_name(trajectory)} cannot be trained on.",
        why,
        "This is a fault of the rollout or the teacher that made it, not of the settings; nothing was trained.",
    )


@dataclass(frozen=True, slots=True)
class StepTable:
    """An episode's steps as arrays, one entry per step and a last one that index -1 (context) reads.

    Attributes:
        place: int64, maps `Step.index` to the entry; `place[-1]` is -1, holes are -2.
        turn: int64, `Step.index`.
        role: int64, code of the loss role.
        row: int64, `Step.row`.
        start: int64, `Step.start`.
        end: int64, `Step.end`.
    """

    place: npt.NDArray[np.int64]
    turn: npt.NDArray[np.int64]
    role: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]


def step_table(trajectory: Trajectory) -> StepTable:
    """Tabulates the steps.

    Raises:
        TrainingError: a step's span is not inside its row.
    """
    steps = trajectory.steps
    for step in steps:
        if step.row >= 0:
            length = len(trajectory.rows[step.row]) if step.row < len(trajectory.rows) else 0
            if not 0 <= step.start <= step.end <= length:
                span = f"[{step.start}, {step.end})"
                raise broken(trajectory, step.row, f"Turn {step.index} says {span} of {length} tokens.")
    place = np.full(max((s.index for s in steps), default=-1) + 2, _UNKNOWN, dtype=np.int64)
    for entry, step in enumerate(steps):
        place[step.index] = entry
    place[-1] = CONTEXT
    return StepTable(
        place,
        *(
            np.array([*column, CONTEXT], dtype=np.int64)
            for column in (
                [s.index for s in steps],
                [_CODE[s.loss_role] for s in steps],
                [s.row for s in steps],
                [s.start for s in steps],
                [s.end for s in steps],
            )
        ),
    )


@dataclass(frozen=True, slots=True)
class RowMasks:
    """What may be trained in a row of T tokens. The masks are disjoint.

    Attributes:
        turn: int64 [T], `Step.index`, or -1 for context.
        offset: int64 [T], position in the turn's response (meaningless for context).
        distill: bool [T].
        imitate: bool [T].
        dead: bool [T], would be distilled, but the teacher has no opinion.
        unused: bool [T], sampled by the student and not for training.
    """

    turn: npt.NDArray[np.int64]
    offset: npt.NDArray[np.int64]
    distill: npt.NDArray[np.bool_]
    imitate: npt.NDArray[np.bool_]
    dead: npt.NDArray[np.bool_]
    unused: npt.NDArray[np.bool_]


def read_row(
    trajectory: Trajectory,
    number: int,
    steps: StepTable,
    scores: TeacherScores | None,
    *,
    distill: bool,
    hidden: bool,
    alone: bool = False,
) -> RowMasks:
    """Checks a row and makes its masks.

    Args:
        trajectory: the episode.
        number: which of its rows.
        steps: its steps.
        scores: the teacher's scores of the row, None when there are none.
        distill: whether there is a distillation loss.
        hidden: whether that loss needs the teacher's hidden states.
        alone: there is no teacher, and rewards alone say what a token is worth.

    Raises:
        TrainingError: the row or its scores break their contract.
    """
    row = trajectory.rows[number]
    ids = row.step_of_token
    if len(ids) and (ids.min() < CONTEXT or ids.max() > len(steps.place) - 2):
        raise broken(trajectory, number, "A token belongs to a step that the episode does not have.")
    entry = steps.place[ids]
    if bool((entry == _UNKNOWN).any()):
        raise broken(trajectory, number, "A token belongs to a step that the episode does not have.")
    if bool((row.mask & (entry == CONTEXT)).any()):
        raise broken(trajectory, number, "A context token is marked as sampled by the student.")
    if bool((row.mask & ~np.isfinite(row.old_logprob)).any()):
        raise broken(trajectory, number, "A token sampled by the student has no finite behaviour log-probability.")
    offset = np.arange(len(row)) - steps.start[entry]
    inside = (entry != CONTEXT) & (steps.row[entry] == number)
    inside &= (offset >= 0) & (offset < (steps.end - steps.start)[entry])
    if bool((row.mask & ~inside).any()):
        raise broken(trajectory, number, "A sampled token lies outside the span of the turn that wrote it.")
    role = steps.role[entry]
    wanted = row.mask & (role == _CODE[LossRole.DISTILL]) & distill
    imitate = inside & (role == _CODE[LossRole.IMITATE])
    live = wanted if alone else np.zeros(len(row), dtype=bool)
    if scores is not None and distill:
        _check_scores(trajectory, number, scores, hidden and bool(wanted.any()))
        live = wanted & scores.valid & ~np.isnan(scores.sampled_logprob)
        if bool(np.isinf(scores.sampled_logprob[live]).any()):
            raise broken(trajectory, number, "The teacher gives an infinite log-probability and calls it valid.")
    if bool((live | imitate)[:1].any()):
        raise broken(trajectory, number, "Its first token is to be trained, but no token comes before it.")
    return RowMasks(steps.turn[entry], offset, live, imitate, wanted & ~live, row.mask & ~wanted & ~imitate)


def _check_scores(trajectory: Trajectory, number: int, scores: TeacherScores, hidden: bool) -> None:
    lengths = {len(trajectory.rows[number]), len(scores.sampled_logprob), len(scores.valid)}
    if hidden:
        if scores.hidden is None:
            raise broken(trajectory, number, "The loss needs the teacher's hidden states and the scores carry none.")
        lengths.add(len(scores.hidden))
    if len(lengths) != 1:
        raise broken(trajectory, number, f"The row and its teacher scores differ in length: {sorted(lengths)}.")
