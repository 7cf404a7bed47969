"""The teacher of a run: made from its section, checked against what is asked of it, and let in to play."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentdistill.errors import ConfigError
from agentdistill.records import Actor, ScoreRequest
from agentdistill.rollout.guide import ExpertGuide, Guide, ModelGuide
from agentdistill.scorecache.setup import with_cache
from agentdistill.teachers.optional import tell_request
from agentdistill.teachers.selfcheck import check_same_tokenizer

if TYPE_CHECKING:
    from agentdistill.config.sections import TeacherSection
    from agentdistill.conversation.base import ContextPolicy
    from agentdistill.conversation.template import ChatRenderer
    from agentdistill.engines.base import Engine
    from agentdistill.models import LoadedModel
    from agentdistill.plugins import PluginRegistry
    from agentdistill.teachers.base import Teacher


def make_teacher(
    section: TeacherSection,
    registry: PluginRegistry,
    student: LoadedModel,
    context: ContextPolicy,
    renderer: ChatRenderer,
) -> Teacher:
    """Makes the teacher of a section, with the cache it says.

    Raises:
        ConfigError: an option is wrong, or "only" a cache that knows nothing of it shall answer.
        TokenizationError: its token ids are not the student's.
    """

    def make() -> Teacher:
        teacher: Teacher = registry.build(
            "teacher", section, "teacher", student=student, context=context, renderer=renderer, registry=registry
        )
        check_same_tokenizer(student.tokenizer, teacher.tokenizer)
        return teacher

    return with_cache(
        make,
        mode=section.cache,
        folder=section.cache_folder,
        type_name=section.type,
        options=registry.options("teacher", section, "teacher").model_dump(mode="json"),
        student=student,
    )


def check_request(request: ScoreRequest, teacher: Teacher, type_name: str, who: str) -> None:
    """Makes sure that a teacher can answer, and tells it what it will be asked.

    Args:
        request: what is asked of it.
        teacher: the teacher.
        type_name: how the recipe calls it.
        who: who asks, for the error.

    Raises:
        ConfigError: it cannot.
    """
    wanted = {
        "sampled": request.sampled,
        "top_k": request.top_k > 0,
        "hidden": request.hidden,
        "entropy": request.entropy,
        "confidence": request.confidence,
    }
    missing = [name for name, asked in wanted.items() if asked and name not in teacher.capabilities]
    if missing:
        raise ConfigError(
            f"The {who} needs {' and '.join(missing)} scores, which the teacher cannot give.",
            f"The teacher `{type_name}` can give: {', '.join(sorted(teacher.capabilities))}.",
            "Choose another teacher, or another support of the loss.",
        )
    tell_request(teacher, request)


def make_guides(
    needs: frozenset[str],
    curriculum: str,
    teacher: Teacher | None,
    type_name: str,
    context: ContextPolicy,
    renderer: ChatRenderer,
    engine: Any,
) -> dict[Actor, Guide]:
    """Who can play turns in the student's place, as far as the curriculum asks for it.

    Args:
        needs: of the curriculum.
        curriculum: how the recipe calls it, for the error.
        teacher: the teacher; None when the recipe has none.
        type_name: how the recipe calls the teacher, for the error.
        context: reads the turns.
        renderer: writes them.
        engine: callable (model: LoadedModel) -> Engine, for a teacher that is a model of this process.

    Raises:
        ConfigError: the teacher shall play and cannot.
    """
    guides: dict[Actor, Guide] = {}
    if "teacher" in needs:
        if teacher is None or "act" not in teacher.capabilities:
            raise ConfigError(
                f"The curriculum `{curriculum}` lets the teacher play turns, and `{type_name}` cannot.",
                "This teacher scores tokens only.",
                'Choose a teacher with the capability "act", or another guide.',
            )
        guides[Actor.TEACHER] = _guide(teacher, context, renderer, engine)
    if "expert" in needs:
        guides[Actor.EXPERT] = ExpertGuide(context, renderer)
    return guides


def _guide(teacher: Teacher, context: ContextPolicy, renderer: ChatRenderer, engine: Any) -> Guide:
    own = getattr(teacher, "guide", None)
    if own is not None:
        guide: Guide = own(context, renderer)
        return guide
    playing: Engine = engine(teacher.policy())
    return ModelGuide(playing)
