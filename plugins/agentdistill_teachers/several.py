"""Several teachers in one: what mixtures and routes share. Each member keeps its own options, checks and numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pydantic import Field, field_validator

from agentdistill.conversation.base import ContextPolicy
from agentdistill.conversation.template import ChatRenderer
from agentdistill.errors import AgentDistillError, ConfigError
from agentdistill.hashing import digest
from agentdistill.models import LoadedModel
from agentdistill.plugins import PluginConfig, PluginRegistry
from agentdistill.records import ScoreRequest, TeacherScores, Trajectory
from agentdistill.teachers.base import Teacher
from agentdistill.teachers.nested import build_teacher
from agentdistill.teachers.optional import (
    check_teacher,
    close_teacher,
    follow_student,
    restore_teacher,
    teacher_state,
)
from agentdistill.teachers.selfcheck import check_same_tokenizer


class SeveralConfig(PluginConfig):
    """The members.

    Attributes:
        members: teachers by name, each a table with its `type` and that teacher's options.
        act: the member that plays turns where the curriculum lets the teacher play; one that only plays, such as a chat
            endpoint, may be a member for this alone.
    """

    members: dict[str, dict[str, Any]] = Field(min_length=1)
    act: str | None = None

    @field_validator("members")
    @classmethod
    def _short_names(cls, members: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name in members:
            if not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"metrics are named after members: use letters, digits, - and _ instead of {name!r}")
        return members


def build_members(
    config: SeveralConfig,
    student: LoadedModel | None,
    context: ContextPolicy | None,
    renderer: ChatRenderer | None,
    registry: PluginRegistry | None,
) -> dict[str, Teacher]:
    """Builds the members, by name.

    Raises:
        ConfigError: an option of a member is wrong, or `act` names nobody.
        TokenizationError: the token ids of a member are not the student's.
    """
    named(config.act, config.members, "teacher.act")
    parts: dict[str, Any] = {"student": student, "context": context, "renderer": renderer}
    members = {}
    for name, options in config.members.items():
        with speaking_of(name):
            members[name] = build_teacher(options, f"teacher.members.{name}", registry=registry, **parts)
            if student is not None:
                check_same_tokenizer(student.tokenizer, members[name].tokenizer)
    return members


def named(name: str | None, members: Collection[str], path: str) -> None:
    """Checks a name of a member.

    Raises:
        ConfigError: there is no such member.
    """
    if name is not None and name not in members:
        raise ConfigError(f"`{path}` names the teacher {name!r}.", f"The members are {', '.join(members)}.", "Use one.")


@contextmanager
def speaking_of(name: str) -> Iterator[None]:
    """Says in an error which of several teachers it comes from; its class stays what it is."""
    try:
        yield
    except AgentDistillError as error:
        if not getattr(error, "member", ""):
            error.what = f"The teacher `{name}`, one of several: {error.what}"
            error.args = (" ".join(part.strip() for part in (error.what, error.why, error.do) if part),)
            error.member = name  # type: ignore[attr-defined]
        raise


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
        return all(getattr(self.teachers[name], "cacheable", True) for name in self.scorers)

    def cache_key(self, trajectory: Trajectory) -> str:
        """What any member's scores depend on besides the rows."""
        keys = [getattr(self.teachers[name], "cache_key", lambda _: "")(trajectory) for name in self.scorers]
        return digest(keys) if any(keys) else ""

    def metrics(self) -> dict[str, float]:
        """The members' numbers, each as NAME/NUMBER."""
        found: dict[str, float] = {}
        for name, teacher in self.teachers.items():
            own = getattr(teacher, "metrics", None)
            found |= {f"{name}/{key}": value for key, value in (own() if own is not None else {}).items()}
        return found

    def after_step(self, step: int) -> None:
        """Tells every member."""
        for name, teacher in self.teachers.items():
            with speaking_of(name):
                follow_student(teacher, step)

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
