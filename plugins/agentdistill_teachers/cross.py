"""A teacher with another tokenizer reads the conversation in its own tokens, and spans of text carry its scores.

The episode's messages, as the context policy makes them, are rendered by the teacher's chat template and tokenised by
its tokenizer; the teacher inside scores that, once. In every response, student and teacher tokens are cut into the
smallest spans that begin and end at the same byte, and the span is what both have an opinion on:

    log pi_T(span) = sum of log pi_T over the teacher's tokens in it
    log pi_T(token) = log pi_T(span) log pi_old(token) / log pi_old(span)            (`share = "surprise"`)

A student's token alone in its span has the span's log-probability; several have shares of it whose sum is exact, none
above 0. In proportion to the student's own log-probabilities, every token of a span has the same ratio of surprises;
`share = "bytes"` goes by length.

What cannot be aligned is NaN, never zero, and counted: tokens in spans whose bytes differ (a template that trims, bytes
that are no character), special tokens on either side, and, as `teacher/terminators`, the tokens that end responses:
families end turns in their own ways, and their probabilities do not mean the same (`terminators = "map"` gives the
student's the score of the teacher's). `teacher/mismatch` is the share of the student's text tokens without a span,
`teacher/merged` the share in spans of several tokens. More than `max_mismatch` stops a run at its start.

A teacher whose tokenizer and template are the student's is passed through: it scores the student's own rows, and every
number is the one it gives without `cross` (`align = "always"` aligns all the same).

Log-probabilities work with every sampled loss. With a local teacher inside, hidden states come too, for losses that
compare whole distributions over two vocabularies; top-k lists, entropies and playing turns do not cross. The light form
is that of SimpleOPD (arXiv 2608.14277), which keeps only tokens that are the same on both sides; spans of several
tokens, byte offsets and merged probabilities are GOLD's, as released in TRL. Differs from both: bytes instead of
characters or the vocabularies' own spelling, and texts that differ are aligned at both of their ends.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from agentdistill.conversation.base import ContextPolicy
from agentdistill.conversation.template import ChatRenderer
from agentdistill.errors import ConfigError
from agentdistill.models import LoadedModel
from agentdistill.plugins import PluginConfig, PluginRegistry, SectionOf
from agentdistill.teachers.crossed import CrossTeacher
from agentdistill.teachers.crossing import Shares
from agentdistill.teachers.nested import build_teacher
from agentdistill_teachers.loading import load_tokenizer


class CrossConfig(PluginConfig):
    """A teacher with a tokenizer of its own.

    Attributes:
        teacher: the teacher inside, a table with its `type`.
        tokenizer: directory, hub id or registered model with the teacher's tokenizer and chat template; unset is what
            the teacher inside shows. One that is served or stored may show none.
        template: variables for the teacher's chat template, e.g. { enable_thinking = false }.
        share: how a span's log-probability is shared out among the student's tokens in it: by their own "surprise" or
            by their "bytes".
        terminators: "mask" leaves the tokens that end responses without a score, "map" gives them the teacher's.
        align: "auto" passes a teacher with the student's tokenizer and template through, "always" aligns it too.
        max_mismatch: largest share of text tokens without a span in the turns that are looked at before the run.
    """

    teacher: Annotated[dict[str, Any], SectionOf("teacher")]
    tokenizer: str | None = None
    template: dict[str, Any] = Field(default_factory=dict)
    share: Shares = "surprise"
    terminators: Literal["mask", "map"] = "mask"
    align: Literal["auto", "always"] = "auto"
    max_mismatch: float = Field(default=0.25, ge=0.0, le=1.0)


def cross_teacher(
    config: CrossConfig,
    student: LoadedModel,
    *,
    context: ContextPolicy | None = None,
    renderer: ChatRenderer | None = None,
    registry: PluginRegistry | None = None,
) -> CrossTeacher:
    """Makes the teacher.

    Raises:
        ConfigError: the teacher inside shows no tokenizer, or the run has no context policy to render with.
        DataError: its tokenizer cannot be loaded.
        TokenizationError: its chat template cannot be used.
    """
    if context is None or renderer is None:
        raise ConfigError(
            "A teacher with another tokenizer needs the run's context policy and chat renderer.",
            "It is shown the conversation in its own words.",
            "Give the run an [env] section with a context, and a student.",
        )
    parts = {"student": student, "context": context, "renderer": renderer, "registry": registry}
    inner = build_teacher(config.teacher, "teacher.teacher", **parts)  # type: ignore[arg-type]
    tokenizer = inner.tokenizer if config.tokenizer is None else load_tokenizer(config.tokenizer, registry)
    if tokenizer is None:
        raise ConfigError(
            f"The teacher `{config.teacher['type']}` shows no tokenizer.",
            "Without one, nobody can write the conversation in its tokens.",
            "Set teacher.tokenizer to the directory or hub id of its tokenizer; a teacher that has none, such as an "
            "environment's expert, needs no `cross`.",
        )
    return CrossTeacher(
        inner,
        student,
        tokenizer=tokenizer,
        context=context,
        renderer=renderer,
        template=config.template,
        share=config.share,
        terminators=config.terminators,
        always=config.align == "always",
        max_mismatch=config.max_mismatch,
    )
