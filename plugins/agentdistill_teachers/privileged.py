"""A teacher that is shown more than the student was: any teacher inside, with a view's words in its prompts.

A view (`agentdistill plugins list --kind view`) says for each episode which words to add. The student's rows are
rendered anew with these words; before that they are rendered without, and must be the student's token by token. Every
response keeps the tokens that were sampled. The teacher inside scores the new rows, and the score of a response's i-th
token is put back at the i-th token of the same response in the student's row: sampled, top-k, entropy, confidence and
hidden states alike. A windowed context, or one that forks, is rendered prompt by prompt in the same way.

An episode the view has nothing to say about gets no scores: NaN, invalid, counted as `teacher/unhinted`, never zero.
The filter `scored` leaves such turns out before the learner sees them, and lets an empty batch pass.

Two kinds of views are told apart. "instance" tells of the very task (its solution, its outcome): with such a hint the
best student is the geometric mean over teachers each of which knew an answer that the student cannot know, and it
imitates their confidence. "shared" holds for many tasks (skills, rules) and distils well. Views declare their kind, and
the run's plan warns of the first, by the name `instance-hints`.

Defaults: the student as it began (`self`), words after what the message says. Sources: OPSD (arXiv 2601.18734), SDPO
(arXiv 2601.20802); the rendering is ours.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from agentdistill.conversation.base import ContextPolicy
from agentdistill.conversation.template import ChatRenderer
from agentdistill.errors import ConfigError
from agentdistill.models import LoadedModel
from agentdistill.plugins import PluginConfig, PluginRegistry, SectionOf
from agentdistill.teachers.nested import build_teacher
from agentdistill.teachers.viewed import ViewedTeacher
from agentdistill.teachers.views import View


class PrivilegedConfig(PluginConfig):
    """A teacher and what it is shown.

    Attributes:
        view: the view, a table with its `type`.
        teacher: the teacher inside, a table with its `type`.
        place: the words stand "after" or "before" what the message they are added to says.
        max_tokens: rows that become longer get no scores and are counted; unset asks the teacher inside, which stops
            the run when a row does not fit it.
    """

    view: Annotated[dict[str, Any], SectionOf("view")]
    teacher: Annotated[dict[str, Any], SectionOf("teacher")] = Field(default_factory=lambda: {"type": "self"})
    place: Literal["after", "before"] = "after"
    max_tokens: int | None = Field(default=None, ge=1)


def privileged_teacher(
    config: PrivilegedConfig,
    *,
    student: LoadedModel | None = None,
    context: ContextPolicy | None = None,
    renderer: ChatRenderer | None = None,
    registry: PluginRegistry | None = None,
) -> ViewedTeacher:
    """Makes the teacher with its view and the teacher inside.

    Raises:
        ConfigError: an option is wrong, or the run has no context policy to render prompts with.
    """
    if context is None or renderer is None or registry is None:
        raise ConfigError(
            "A privileged teacher needs the run's context policy and chat renderer.",
            "It renders the student's prompts anew.",
            "Give the run an [env] section with a context, and a student.",
        )
    view: View = registry.build("view", config.view, "teacher.view", registry=registry)
    parts = {"student": student, "context": context, "renderer": renderer, "registry": registry}
    inner = build_teacher(config.teacher, "teacher.teacher", **parts)  # type: ignore[arg-type]
    who = getattr(inner, "label", "") or config.teacher.get("model") or config.teacher["type"]
    return ViewedTeacher(
        inner,
        view,
        renderer=renderer,
        context=context,
        place=config.place,
        max_tokens=config.max_tokens,
        name=str(config.view["type"]),
        label=f"{who}, shown {config.view['type']}",
    )
