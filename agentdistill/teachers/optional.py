"""What a teacher may have besides the `Teacher` protocol. The core asks by presence; nobody needs all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from agentdistill.records import ScoreRequest, Trajectory

if TYPE_CHECKING:
    from agentdistill.conversation.base import ContextPolicy
    from agentdistill.conversation.template import ChatRenderer
    from agentdistill.rollout.guide import Guide
    from agentdistill.teachers.base import Teacher


class OptionalTeacher(Protocol):
    """The optional members, all in one place; see the functions below for what happens without one.

    Attributes:
        cacheable: False when scores depend on more than fingerprint, token rows, request and `cache_key`, for instance
            because the teacher's weights move. Absent is True.
        label: what the plan calls it; absent is the `model` or `url` of its options.
        cache_default: "on" when scores should be kept unless a recipe says otherwise, since they cost money or time.
            Absent is "off".
        members: names of several teachers in one, which `TeacherScores.source` refers to.
    """

    cacheable: bool
    cache_default: str
    label: str
    members: tuple[str, ...]

    def metrics(self) -> Mapping[str, float]:
        """Numbers since the last call, logged as `teacher/NAME`."""
        ...

    def after_step(self, step: int) -> None:
        """The student has made an optimiser step, its `step`-th. A teacher that follows it moves its weights here."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs: tensors, numbers, texts, and lists and mappings of these."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict`."""
        ...

    def guide(self, context: ContextPolicy, renderer: ChatRenderer) -> Guide:
        """Who plays this teacher's turns, in the place of a model from `policy` (capability "act")."""
        ...

    def expect(self, request: ScoreRequest) -> None:
        """Hears what the run will ask of it, before it is checked; the last word holds."""
        ...

    def check(self, trajectories: Sequence[Trajectory]) -> Sequence[str]:
        """Looks, before the run starts, whether it can be relied on; with a few turns of the student.

        Returns:
            Lines for people.

        Raises:
            AgentDistillError: it cannot.
        """
        ...

    def cache_key(self, trajectory: Trajectory) -> str:
        """What the scores of a trajectory depend on besides its rows: a hint, the expert's actions."""
        ...

    def student_ids(self) -> Any:
        """What its vocabulary is to the student, where it has one of its own and gives hidden states over it.

        Returns:
            int64 [V], the student's id for each of its own, -1 for none; None where both have one vocabulary.
        """
        ...

    def close(self) -> None:
        """The run is over."""
        ...


def own_metrics(teacher: Teacher) -> dict[str, float]:
    """The teacher's own numbers since the last call; none without `metrics`."""
    own = getattr(teacher, "metrics", None)
    return {} if own is None else {name: float(value) for name, value in own().items()}


def teacher_metrics(teacher: Teacher) -> dict[str, float]:
    """`own_metrics` as a run logs them, `teacher/NAME`."""
    return {f"teacher/{name}": value for name, value in own_metrics(teacher).items()}


def is_cacheable(teacher: Teacher) -> bool:
    """Whether its scores may be kept; they may without `cacheable`."""
    return bool(getattr(teacher, "cacheable", True))


def cache_key(teacher: Teacher | None, trajectory: Trajectory) -> str:
    """What its scores of a trajectory depend on besides the rows; "" without `cache_key`."""
    own = getattr(teacher, "cache_key", None)
    return "" if own is None else str(own(trajectory))


def follow_student(teacher: Teacher, step: int) -> bool:
    """Tells a teacher that the student moved; whether the teacher cares, so that its output layer may be another."""
    after = getattr(teacher, "after_step", None)
    if after is None:
        return False
    after(step)
    return True


def teacher_state(teacher: Teacher | None) -> dict[str, Any]:
    """Its part of a checkpoint; nothing without `state_dict`."""
    own = getattr(teacher, "state_dict", None)
    return {} if own is None else own()


def restore_teacher(teacher: Teacher | None, state: Mapping[str, Any]) -> None:
    """Puts a teacher back to its part of a checkpoint."""
    own = getattr(teacher, "load_state_dict", None)
    if own is not None:
        own(state)


def tell_request(teacher: Teacher, request: ScoreRequest) -> None:
    """Tells a teacher what it will be asked; nothing without `expect`."""
    own = getattr(teacher, "expect", None)
    if own is not None:
        own(request)


def check_teacher(teacher: Teacher, trajectories: Sequence[Trajectory]) -> list[str]:
    """Its own checks at the start of a run; no line without `check`."""
    own = getattr(teacher, "check", None)
    return [] if own is None else list(own(trajectories))


def student_ids(teacher: Teacher) -> Any:
    """The student's id for each of the teacher's, int64 [V]; None without `student_ids`: one vocabulary."""
    own = getattr(teacher, "student_ids", None)
    return None if own is None else own()


def close_teacher(teacher: Teacher) -> None:
    """Tells a teacher that the run is over."""
    own = getattr(teacher, "close", None)
    if own is not None:
        own()
