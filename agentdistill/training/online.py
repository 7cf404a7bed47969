"""Asking the teacher about turns as they are written, for curricula that decide by its scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentdistill.errors import ConfigError
from agentdistill.records import ScoreRequest
from agentdistill.rollout.control import OnlineScores

if TYPE_CHECKING:
    from agentdistill.teachers.base import Teacher


def online_scores(teacher: Teacher, curriculum: str) -> OnlineScores:
    """The teacher's sampled log-probabilities.

    Args:
        teacher: who is asked.
        curriculum: who wants to know, for the error.

    Raises:
        ConfigError: the teacher cannot give them.
    """
    if "sampled" not in teacher.capabilities:
        raise ConfigError(
            f"The curriculum `{curriculum}` decides by the teacher's log-probabilities, which it does not give.",
            f"It can give: {', '.join(sorted(teacher.capabilities))}.",
            "Choose another teacher, or another curriculum.",
        )
    return lambda turns: teacher.score(turns, ScoreRequest())
