"""Teachers inside teachers: a mixture of several, one with a hint, one behind another tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agentdistill.errors import ConfigError

if TYPE_CHECKING:
    from agentdistill.conversation.base import ContextPolicy
    from agentdistill.conversation.template import ChatRenderer
    from agentdistill.models import LoadedModel
    from agentdistill.plugins import PluginRegistry
    from agentdistill.teachers.base import Teacher


def build_teacher(
    options: Mapping[str, Any],
    path: str,
    *,
    registry: PluginRegistry | None,
    student: LoadedModel | None = None,
    context: ContextPolicy | None = None,
    renderer: ChatRenderer | None = None,
) -> Teacher:
    """Builds a teacher from a table in another teacher's options.

    Args:
        options: the table, `type` included.
        path: the user's path to it, e.g. "teacher.members.0", for errors.
        registry: where its `type` is looked up.
        student: passed on, as to any teacher.
        context: passed on.
        renderer: passed on.

    Raises:
        ConfigError: the table has no `type`, or an option is unknown or wrong.
        PluginError: the plugin cannot be found or imported.
    """
    if "type" not in options:
        raise ConfigError(
            f"`{path}` does not say which teacher it is.",
            "It has no `type`.",
            f'Write {path} = {{ type = "local", … }}.',
        )
    if registry is None:
        raise ConfigError(f"`{path}` cannot be built.", "There is no plugin registry.", "Build the run from a recipe.")
    teacher: Teacher = registry.build(
        "teacher", dict(options), path, student=student, context=context, renderer=renderer, registry=registry
    )
    return teacher
