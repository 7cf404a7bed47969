"""The members of a teacher made of several: their options, how they are built, and whose failure an error is."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from agentdistill.conversation.base import ContextPolicy
from agentdistill.conversation.template import ChatRenderer
from agentdistill.errors import AgentDistillError, ConfigError
from agentdistill.models import LoadedModel
from agentdistill.plugins import PluginConfig, PluginRegistry, SectionOf
from agentdistill.plugins.suggest import hint, listing
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

    @model_validator(mode="after")
    def _names_of_members(self) -> Self:
        for key, name in self.names().items():
            if name is not None and name not in self.members:
                known = f"the members are {listing(self.members)}"
                raise ValueError(f"`{key}` names the teacher `{name}`; {known}.{hint(name, self.members)}")
        return self

    def names(self) -> dict[str, str | None]:
        """The members that other options name, by the path of the option."""
        return {"act": self.act}


def build_members(
    config: SeveralConfig,
    student: LoadedModel | None,
    context: ContextPolicy | None,
    renderer: ChatRenderer | None,
    registry: PluginRegistry | None,
) -> dict[str, Teacher]:
    """Builds the members, by name.

    Raises:
        ConfigError: an option of a member is wrong.
        TokenizationError: the token ids of a member are not the student's.
    """
    parts: dict[str, Any] = {"student": student, "context": context, "renderer": renderer}
    members = {}
    for name, options in config.members.items():
        with speaking_of(name):
            members[name] = build_teacher(options, f"teacher.members.{name}", registry=registry, **parts)
            if student is not None:
                check_same_tokenizer(student.tokenizer, members[name].tokenizer)
    return members


def named(name: str | None, scorers: Collection[str], path: str) -> None:
    """Checks that a member that is named scores.

    Raises:
        ConfigError: it does not.
    """
    if name is not None and name not in scorers:
        known = f"Those that score are {listing(scorers)}."
        raise ConfigError(f"`{path}` names the teacher `{name}`.", known, "Use one of them.")


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
