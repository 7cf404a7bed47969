"""Several teachers in one: what mixtures and routes share. Each member keeps its own checks, numbers and state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agentdistill.errors import ConfigError
from agentdistill.hashing import digest
from agentdistill.records import ScoreRequest, TeacherScores, Trajectory
from agentdistill.teachers.base import Teacher
from agentdistill.teachers.optional import (
    cache_key,
    check_teacher,
    close_teacher,
    follow_student,
    is_cacheable,
    own_metrics,
    restore_teacher,
    teacher_state,
    tell_request,
)
from agentdistill_teachers.members import speaking_of


class Several:
    """What every teacher made of several has: see `agentdistill.teachers.optional` for the members that are passed on.

    Attributes:
        teachers: by name.
        members: their names; `TeacherScores.source` counts in this order.
        act: who plays.
        scorers: names of those that score tokens.
    """

    tokenizer: Any = None
    """The members were compared with the student one by one."""

    def __init__(self, teachers: Mapping[str, Teacher], act: str | None = None) -> None:
        """Takes the members.

        Raises:
            ConfigError: a member neither scores nor plays.
        """
        self.teachers, self.act = dict(teachers), act
        self.members = tuple(teachers)
        self.scorers = tuple(name for name, one in teachers.items() if "sampled" in one.capabilities)
        for name in self.members:
            if name not in self.scorers and name != act:
                raise ConfigError(
                    f"The teacher `{name}`, one of several, scores no tokens.",
                    f"It can give: {', '.join(sorted(teachers[name].capabilities)) or 'nothing'}.",
                    f'Let it play with act = "{name}", or leave it out.',
                )
        own = getattr(teachers[act], "guide", None) if act is not None else None
        if own is not None:
            self.guide = own  # only where there is one: the core asks by presence

    @property
    def shared_capabilities(self) -> frozenset[str]:
        """What every scoring member can give, and "act" where a member plays."""
        each = [self.teachers[name].capabilities - {"act"} for name in self.scorers]
        shared = frozenset.intersection(*map(frozenset, each)) if each else frozenset[str]()
        plays = self.act is not None and "act" in self.teachers[self.act].capabilities
        return shared | {"act"} if plays else shared

    @property
    def needs(self) -> frozenset[str]:
        """What any member needs of an episode."""
        return frozenset[str]().union(*(teacher.needs for teacher in self.teachers.values()))

    def policy(self) -> Any:
        """The model of the member that plays."""
        if self.act is None:
            raise ConfigError("None of several teachers was named to play.", "", "Name one with teacher.act.")
        return self.teachers[self.act].policy()

    def ask(self, name: str, trajectories: Sequence[Trajectory], request: ScoreRequest) -> list[list[TeacherScores]]:
        """One member's scores; its failures name it."""
        with speaking_of(name):
            return self.teachers[name].score(trajectories, request)

    def fingerprint_of(self, *own: Any) -> str:
        """Over a teacher's own options and its scoring members, in their order."""
        return digest([*own, [(name, self.teachers[name].fingerprint) for name in self.scorers]])[:16]

    @property
    def cacheable(self) -> bool:
        """Whether the scores of all members are."""
        return all(is_cacheable(self.teachers[name]) for name in self.scorers)

    def cache_key(self, trajectory: Trajectory) -> str:
        """What any member's scores depend on besides the rows."""
        keys = [cache_key(self.teachers[name], trajectory) for name in self.scorers]
        return digest(keys) if any(keys) else ""

    def metrics(self) -> dict[str, float]:
        """The members' numbers, each as NAME/NUMBER."""
        found: dict[str, float] = {}
        for name, teacher in self.teachers.items():
            found |= {f"{name}/{key}": value for key, value in own_metrics(teacher).items()}
        return found

    def after_step(self, step: int) -> None:
        """Tells every member."""
        for name, teacher in self.teachers.items():
            with speaking_of(name):
                follow_student(teacher, step)

    def expect(self, request: ScoreRequest) -> None:
        """Tells those that score."""
        for name in self.scorers:
            tell_request(self.teachers[name], request)

    def check(self, trajectories: Sequence[Trajectory]) -> list[str]:
        """The checks of every member."""
        lines = []
        for name, teacher in self.teachers.items():
            with speaking_of(name):
                lines += [f"{name}: {line}" for line in check_teacher(teacher, trajectories)]
        return lines

    def state_dict(self) -> dict[str, Any]:
        """The members' states."""
        return {"members": {name: teacher_state(teacher) for name, teacher in self.teachers.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict`."""
        for name, one in state.get("members", {}).items():
            restore_teacher(self.teachers[name], one)

    def close(self) -> None:
        """Tells every member."""
        for teacher in self.teachers.values():
            close_teacher(teacher)
