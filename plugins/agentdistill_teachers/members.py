"""The members of a teacher made of several: their options, how they are built, and whose failure an error is."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from pydantic import Field, field_validator

from agentdistill.conversation.base import ContextPolicy
from agentdistill.conversation.template import ChatRenderer
from agentdistill.errors import AgentDistillError, ConfigError
from agentdistill.models import LoadedModel
from agentdistill.plugins import PluginConfig, PluginRegistry, SectionOf
from agentdistill.teachers.base import Teacher
from agentdistill.teachers.nested import build_teacher
from agentdistill.teachers.selfcheck import check_same_tokenizer


class SeveralConfig(PluginConfig):
    """The members.

    Attributes:
        members: teachers by name, each a table with its `type` and that teacher's options.
        act: the member that plays turns where the curriculum lets the teacher play; one that only plays, such as a chat
            endpoint, may be a member for this alone.
    """

    members: Annotated[dict[str, dict[str, Any]], SectionOf("teacher", several=True)] = Field(min_length=1)
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
