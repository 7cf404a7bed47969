"""A teacher with a tokenizer of its own, asked in its own tokens; spans of text carry its scores to the student's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

from agentdistill.alignment.pieces import TokenPieces
from agentdistill.alignment.vocabularies import shared_ids
from agentdistill.conversation.base import ContextPolicy
from agentdistill.conversation.template import ChatRenderer
from agentdistill.errors import TokenizationError, TrainingError
from agentdistill.hashing import digest
from agentdistill.models import LoadedModel, tokenizer_fingerprint
from agentdistill.records import ScoreRequest, TeacherScores, Trajectory
from agentdistill.teachers import optional
from agentdistill.teachers.around import Around
from agentdistill.teachers.base import Teacher
from agentdistill.teachers.crossing import Counts, Crossing, Shares
from agentdistill.teachers.reading import check_prompts, read
from agentdistill.teachers.selfcheck import check_same_tokenizer


class CrossTeacher(Around):
    """Any teacher that shows its tokenizer, for a student with another.

    Attributes:
        difference: what tells its tokenizer from the student's; "" when nothing does.
        plain: the teacher inside is asked for the student's own rows.
    """

    tokenizer: Any = None

    def __init__(
        self,
        inner: Teacher,
        student: LoadedModel,
        *,
        tokenizer: Any = None,
        context: ContextPolicy,
        renderer: ChatRenderer,
        template: Mapping[str, Any] | None = None,
        share: Shares = "surprise",
        terminators: Literal["mask", "map"] = "mask",
        always: bool = False,
        max_mismatch: float = 1.0,
    ) -> None:
        """Puts a teacher behind its tokenizer.

        Args:
            inner: who scores.
            student: who is taught.
            tokenizer: the teacher's, with a chat template; None is what `inner` shows.
            context: the context policy that the student plays with.
            renderer: the student's chat renderer.
            template: variables for the teacher's chat template.
            share: how a span's log-probability is shared out among the student's tokens in it.
            terminators: what the tokens that end responses get: nothing, or the score of the teacher's.
            always: align a teacher with the student's tokenizer and template, too.
            max_mismatch: largest share of text tokens without a span that `check` accepts.

        Raises:
            TokenizationError: the teacher's chat template cannot be used.
        """
        tokenizer = inner.tokenizer if tokenizer is None else tokenizer
        super().__init__(inner)
        self.difference = difference(student.tokenizer, tokenizer)
        self.plain = not always and not self.difference
        self.renderer = ChatRenderer(tokenizer, per_turn=True, template_options=template)
        self._terminators, self._max_mismatch = terminators, max_mismatch
        self._student, self._context, self._student_renderer = student, context, renderer
        self._crossing = Crossing(
            TokenPieces(student.tokenizer),
            TokenPieces(tokenizer),
            renderer.stop_ids,
            share,
            terminators == "map",
        )

    @property
    def capabilities(self) -> frozenset[str]:
        """What of the teacher inside can be told of spans."""
        return self.inner.capabilities if self.plain else self.inner.capabilities & {"sampled", "hidden"}

    @property
    def fingerprint(self) -> str:
        """Over the teacher inside, both ways of writing a conversation, and the options."""
        if self.plain:
            return self.inner.fingerprint
        return digest(["cross", self.inner.fingerprint, self._writing, self._crossing.shares, self._terminators])[:16]

    @cached_property
    def _writing(self) -> list[str]:
        return [tokenizer_fingerprint(self._student.tokenizer), self.renderer.fingerprint, self._context.prompt_hash]

    def cache_key(self, trajectory: Trajectory) -> str:
        """The texts the teacher reads, and the student's log-probabilities, which say how spans are shared out."""
        inside = optional.cache_key(self.inner, trajectory)
        if self.plain:
            return inside
        said = [[s.observation, s.response, s.info.get("admissible_actions")] for s in trajectory.steps]
        rows = [row.old_logprob.tobytes().hex() for row in trajectory.rows]
        return digest(
            [inside, trajectory.meta.get("goal", ""), said, rows if self._crossing.shares == "surprise" else []]
        )

    def score(self, trajectories: Sequence[Trajectory], request: ScoreRequest) -> list[list[TeacherScores]]:
        """Scores every row of every trajectory.

        Raises:
            TrainingError: something is wanted that cannot be told of spans, or the episodes' prompts are not those
                that their texts make.
        """
        if self.plain:
            return self.inner.score(trajectories, request)
        if request.top_k or request.entropy or request.confidence:
            raise TrainingError(
                "A teacher with another tokenizer has no top k, entropy or confidence for the student's tokens.",
                "Its distributions are over its own tokens.",
                "Use a loss on sampled tokens, or one that works across vocabularies.",
            )
        check_prompts(trajectories[:1], self._context, self._student_renderer)
        readings = [read(t, self._context, self.renderer) for t in trajectories]
        answers = self.inner.score(readings, request)
        zipped = zip(trajectories, readings, answers, strict=True)
        return [self._crossing.move(mine, theirs, answer, request) for mine, theirs, answer in zipped]

    def policy(self) -> Any:
        """The model of the teacher inside, where both share a tokenizer."""
        return self.inner.policy()

    def student_ids(self) -> Any:
        """The student's id for each of the teacher's, int64 [V]; None when it is passed through."""
        if self.plain:
            return None
        ends = {self.renderer.terminator: self._student_renderer.terminator} if self._crossing.terminators else {}
        return shared_ids(self._crossing.student, self._crossing.teacher, len(self.output_weight()), ends)

    def metrics(self) -> Mapping[str, float]:
        """What became of the student's tokens since the last call, and the numbers of the teacher inside."""
        inside = super().metrics()
        counts, self._crossing.counts = self._crossing.counts, Counts()
        return {**inside, **counts.shares()} if counts.tokens else inside

    def check(self, trajectories: Sequence[Trajectory]) -> list[str]:
        """Aligns a few turns and says how much of them the teacher has an opinion on.

        Raises:
            TokenizationError: too little of it.
        """
        if self.plain:
            return ["has the student's tokenizer: passed through", *optional.check_teacher(self.inner, trajectories)]
        readings = [read(t, self._context, self.renderer) for t in trajectories]
        shares = self._crossing.survey(trajectories, readings).shares()
        told = f"{1.0 - shares['mismatch']:.1%} of the text tokens are in spans of the same bytes"
        if shares["mismatch"] > self._max_mismatch:
            raise TokenizationError(
                f"Only {told}, and the others would have no score.",
                f"{self.difference} At most {self._max_mismatch:.0%} may be without one.",
                "Look for a template that changes responses, or raise teacher.max_mismatch.",
            )
        mine, theirs = (sum(len(t.rows) for t in some) for some in (trajectories, readings))
        return [
            f"has another tokenizer: {told}, {shares['merged']:.1%} in spans of several; terminators: "
            f"{self._terminators}",
            f"reads {theirs} rows where the student has {mine}",
            *optional.check_teacher(self.inner, readings),
        ]


def difference(student: Any, teacher: Any) -> str:
    """What tells two tokenizers apart, "" when nothing does."""
    try:
        check_same_tokenizer(student, teacher)
    except TokenizationError as error:
        return error.why
    return ""
