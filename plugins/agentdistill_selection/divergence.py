"""Divergence-aware selection (DASD, arXiv 2601.09088): likely for the teacher, unlikely for the student.

    score = mean log pi_T - mean log pi_S      over the tokens of the episode's responses (`unit = "token"`),
                                               or over its sentences' own means (`unit = "sentence"`)

The paper samples many sequences from the teacher and keeps those that it finds probable and the student does not: they
carry what is to be learned, and are no accidents of sampling. Its thresholds are options here: an episode whose teacher
mean is below `teacher_least`, or whose student mean is above `student_most`, must not be selected at all.

Defaults: no thresholds, token means; the paper's unit is the sentence, and it prints no thresholds.
The paper's other two parts, sampling first cold then hot and letting the teacher finish what the student began, are a
matter of `collect` and of guides.
Proofs: tests/selection/test_methods.py (equal models score 0, exchanging them changes the sign, the order of turns does
not matter, one sentence of all tokens makes both units agree).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from agentdistill.plugins import PluginConfig
from agentdistill.training.selection import Candidate, Worth
from agentdistill_selection.sentences import sentences


class DivergenceConfig(PluginConfig):
    """What must diverge, and by how much.

    Attributes:
        unit: what means are taken over, each "token" or each "sentence".
        teacher_least: smallest mean log-probability under the teacher, nats per token; false for none.
        student_most: largest mean log-probability under the student, nats per token; false for none.
    """

    unit: Literal["token", "sentence"] = "token"
    teacher_least: float | None = Field(default=None, le=0.0)
    student_most: float | None = Field(default=None, le=0.0)


def divergence(candidates: Sequence[Candidate], config: DivergenceConfig) -> list[Worth]:
    """Worth of each episode; notes hold both means, nats per token."""
    found = []
    for candidate in candidates:
        teacher, student = (mean(candidate, part, config.unit) for part in ("teacher", "student"))
        notes = {"teacher": teacher, "student": student}
        low = config.teacher_least is not None and teacher < config.teacher_least
        high = config.student_most is not None and student > config.student_most
        unknown = math.isnan(teacher) or math.isnan(student)
        found.append(Worth(-math.inf if low or high or unknown else teacher - student, notes))
    return found


divergence.needs = frozenset({"student", "teacher"})  # type: ignore[attr-defined]


def mean(candidate: Candidate, part: str, unit: str) -> float:
    """Mean log-probability of an episode's responses under one model; NaN for an episode without any token."""
    values: list[float] = []
    for response in candidate.responses:
        view = response.views[part]
        if unit == "token":
            values += view.logprob.astype(np.float64).tolist()
        else:
            means = [view.mean(start, end) for start, end in sentences(response.text)]
            values += [value for value in means if not math.isnan(value)]
    return math.fsum(values) / len(values) if values else math.nan
