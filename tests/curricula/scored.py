"""Made-up episodes with made-up scores, turn by turn: what depth and surprise are measured on."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from agentdistill.records import (
    Actor,
    EpisodePlan,
    LossRole,
    Step,
    StopReason,
    Task,
    TeacherScores,
    TokenRow,
    Trajectory,
)
from agentdistill.training.curriculum import Progress

OWN = -0.25
"""The student's log-probability of every token it writes here."""


def task(number: int = 0) -> Task:
    return Task("made", "train", f"task-{number}", seed=number)


def progress(step: int = 0, total: int = 100, limit: int = 30, demonstration=None, recording=None, seed=0, sample=0):
    return Progress(step, total, limit, lambda _: demonstration, lambda _: recording, seed, sample)


def played(
    plan: EpisodePlan,
    logprobs: Sequence[float],
    *,
    stop: StopReason = StopReason.ENV_LIMIT,
    success: bool = False,
    number: int = 0,
    tokens: int = 2,
    own: float = OWN,
    invalid: Sequence[int] = (),
) -> tuple[Trajectory, list[TeacherScores]]:
    """An episode whose turns after the prefix have these mean log-probabilities under the teacher (NaN: no opinion)."""
    steps = [
        Step(i, f"seen {i}", action, action, actor=plan.prefix_actor, loss_role=LossRole.NONE, info={"replayed": True})
        for i, action in enumerate(plan.prefix)
    ]
    ids: list[int] = [0]
    owner, scored = [-1], [np.nan]
    for logprob in logprobs:
        index, start = len(steps), len(ids)
        ids += [7] * tokens
        owner += [index] * tokens
        scored += [logprob] * tokens
        info = {"control": {"teacher_logprob": logprob, "student_logprob": own, "tokens": tokens}}
        valid = index not in invalid
        steps.append(
            Step(
                index,
                f"seen {index}",
                f"do {index}",
                f"do {index}",
                valid=valid,
                row=0,
                start=start,
                end=len(ids),
                info=info,
            )
        )
    mask = np.asarray(owner) >= 0
    row = TokenRow(
        np.asarray(ids, np.int32), np.asarray(owner, np.int32), mask, np.where(mask, own, np.nan).astype(np.float32)
    )
    stop = StopReason.SUCCESS if success else stop
    trajectory = Trajectory(task(number), plan, steps, [row], stop, success=success, meta={"goal": "made up"})
    opinion = np.asarray(scored, np.float32)
    return trajectory, [TeacherScores(opinion, np.isfinite(opinion))]


def reborn(curriculum):
    """A new curriculum of the same options with the state of another, through JSON."""
    fresh = type(curriculum)(curriculum.config)
    fresh.load_state_dict(json.loads(json.dumps(curriculum.state_dict(), allow_nan=False)))
    return fresh


__all__ = ["OWN", "Actor", "played", "progress", "reborn", "task"]
