"""A teacher around another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentdistill.records import ScoreRequest
from agentdistill.teachers import optional
from agentdistill.teachers.base import ScoresOnly, Teacher


class Around(ScoresOnly):
    """What a teacher with another inside passes on to it, and hears from it.

    Attributes:
        inner: the teacher inside.
    """

    def __init__(self, inner: Teacher) -> None:
        """Takes the teacher inside."""
        self.inner = inner

    @property
    def needs(self) -> frozenset[str]:
        """What the teacher inside needs of the episodes."""
        return self.inner.needs

    @property
    def cacheable(self) -> bool:
        """As the teacher inside."""
        return optional.is_cacheable(self.inner)

    def output_weight(self) -> Any:
        """That of the teacher inside, [V, D] over its own vocabulary."""
        return self.inner.output_weight()

    def metrics(self) -> Mapping[str, float]:
        """The numbers of the teacher inside."""
        return optional.own_metrics(self.inner)

    def expect(self, request: ScoreRequest) -> None:
        """The teacher inside will be asked as much."""
        optional.tell_request(self.inner, request)

    def after_step(self, step: int) -> None:
        """The student has moved."""
        optional.follow_student(self.inner, step)

    def state_dict(self) -> dict[str, Any]:
        """Of the teacher inside."""
        return optional.teacher_state(self.inner)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the teacher inside."""
        optional.restore_teacher(self.inner, state)

    def close(self) -> None:
        """The run is over."""
        optional.close_teacher(self.inner)
