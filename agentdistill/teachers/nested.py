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
        options: the table, `type` included. Its `cache` and `cache_folder` mean what they mean in [teacher].
        path: the user's path to it, e.g. "teacher.members.0", for errors.
        registry: where its `type` is looked up.
        student: passed on, as to any teacher.
        context: passed on.
        renderer: passed on.

    Raises:
        ConfigError: the table has no `type`, or an option is unknown or wrong.
        PluginError: the plugin cannot be found or imported.
    """
    if registry is None:
        raise ConfigError(f"`{path}` cannot be built.", "There is no plugin registry.", "Build the run from a recipe.")
    from agentdistill.scorecache.setup import with_cache

    own = {key: value for key, value in options.items() if key not in ("cache", "cache_folder")}
    resolved = registry.options("teacher", own, path).model_dump(mode="json")

    def make() -> Teacher:
        teacher: Teacher = registry.build(
            "teacher", own, path, student=student, context=context, renderer=renderer, registry=registry
        )
        return teacher

    return with_cache(
        make,
        mode=options.get("cache"),
        folder=options.get("cache_folder"),
        type_name=str(options["type"]),
        options=resolved,
        student=student,
    )
