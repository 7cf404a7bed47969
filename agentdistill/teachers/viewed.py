"""A teacher inside a privileged view: it scores what a student wrote, in prompts that say more than the student's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agentdistill.conversation.base import ContextPolicy
from agentdistill.conversation.template import ChatRenderer
from agentdistill.hashing import digest
from agentdistill.records import ScoreRequest, TeacherScores, Trajectory
from agentdistill.teachers import optional
from agentdistill.teachers.around import Around
from agentdistill.teachers.base import Teacher
from agentdistill.teachers.offsets import align_scores
from agentdistill.teachers.rerender import Shown, rerender
from agentdistill.teachers.scoring import unscored
from agentdistill.teachers.views import Place, Privileged, View

WARNING = "instance-hints"
"""Name of the warning about views that tell of the very task that is played."""


class ViewedTeacher(Around):
    """Any teacher, shown a view's words besides the student's prompts; scores stand at the student's positions.

    Episodes that the view has nothing to say about have no scores: NaN, invalid, counted, never zero.
    """

    who = "A privileged teacher"

    def __init__(
        self,
        inner: Teacher,
        view: View,
        *,
        renderer: ChatRenderer,
        context: ContextPolicy,
        place: Place = "after",
        max_tokens: int | None = None,
        name: str = "",
        label: str = "",
    ) -> None:
        """Puts a teacher inside a view.

        Args:
            inner: who scores.
            view: what it is shown.
            renderer: the student's chat renderer.
            context: the context policy that the student plays with.
            place: where words go in the message they are added to.
            max_tokens: episodes with a longer row get no scores; None leaves that to `inner`, which may stop the run.
            name: how lines for people call the view.
            label: how they call the whole.
        """
        super().__init__(inner)
        self.view, self.name, self.label = view, name, label
        self._renderer, self._context = renderer, context
        self._place, self._max_tokens = place, max_tokens
        self._counts = _no_counts()
        self.members: tuple[str, ...] = tuple(getattr(inner, "members", ()))

    @property
    def capabilities(self) -> frozenset[str]:
        """What the teacher inside can score; it plays no turns."""
        return frozenset(self.inner.capabilities - {"act"})

    @property
    def needs(self) -> frozenset[str]:
        """What the teacher inside and the view need of the episodes."""
        return frozenset(super().needs | self.view.needs)

    @property
    def fingerprint(self) -> str:
        """Over the teacher inside, the view, and how prompts are rendered."""
        rendered = [self._renderer.fingerprint, self._context.prompt_hash, self._place, self._max_tokens]
        return digest(["viewed", self.inner.fingerprint, self.view.fingerprint, *rendered])[:16]

    @property
    def cacheable(self) -> bool:
        """Unless the view compares episodes, or the teacher inside moves."""
        return not self.view.siblings and super().cacheable

    def cache_key(self, trajectory: Trajectory) -> str:
        """The words of the view, and what the teacher inside depends on."""
        (shown,) = self.view.show([trajectory])
        words = None if shown is None else [shown.opening, sorted(shown.turns.items()), shown.remembered]
        scored = None if shown is None or shown.scored is None else sorted(shown.scored)
        return digest([words, scored, optional.cache_key(self.inner, trajectory)])[:16]

    @property
    def tokenizer(self) -> Any:
        """That of the teacher inside."""
        return self.inner.tokenizer

    def score(self, trajectories: Sequence[Trajectory], request: ScoreRequest) -> list[list[TeacherScores]]:
        """Scores every row of every trajectory, as the teacher inside sees it.

        Raises:
            TrainingError: prompts cannot be rendered again as they were, or a row does not fit the teacher inside.
        """
        views = [self._shown(t, p) for t, p in zip(trajectories, self.view.show(trajectories), strict=True)]
        asked = [shown.trajectory for shown in views if shown is not None]
        answers = iter(self.inner.score(asked, request) if asked else [])
        return [
            [unscored(row, request) for row in trajectory.rows]
            if shown is None
            else align_scores(trajectory, shown, next(answers), request)
            for trajectory, shown in zip(trajectories, views, strict=True)
        ]

    def _shown(self, trajectory: Trajectory, privileged: Privileged | None) -> Shown | None:
        self._counts["hinted" if privileged is not None else "unhinted"] += 1
        if privileged is None:
            return None
        shown = rerender(trajectory, privileged, renderer=self._renderer, context=self._context, place=self._place)
        limit = self._max_tokens
        if limit is not None and any(len(row) > limit for row in shown.trajectory.rows):
            self._counts["too_long"] += 1
            return None
        self._counts["added_tokens"] += shown.added
        return shown

    def check(self, trajectories: Sequence[Trajectory]) -> Sequence[str]:
        """Scores a few episodes once, and says what kind of hints these are."""
        lines = [
            *optional.check_teacher(self.inner, trajectories),
            f"view {self.name or type(self.view).__name__}, {self.view.scope}",
        ]
        if self.view.scope == "instance":
            lines.append(
                f"warning {WARNING}: the view tells of the very task that is played, which the student will not "
                "know when it is alone; hints that hold for many tasks distil better"
            )
        self.score(list(trajectories), ScoreRequest())
        self.metrics()
        return lines

    def metrics(self) -> Mapping[str, float]:
        """Episodes with and without words, too long ones, tokens added to each; and those of the teacher inside."""
        found, self._counts = dict(self._counts), _no_counts()
        found["added_tokens"] /= max(found["hinted"], 1.0)
        return {**found, **super().metrics()}


def _no_counts() -> dict[str, float]:
    return dict.fromkeys(("hinted", "unhinted", "too_long", "added_tokens"), 0.0)
