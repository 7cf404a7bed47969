"""Renders the rows of an episode anew with a view's words in them; response tokens stay as they were sampled.

Before that, the episode is rendered without any words and compared with the student's rows, token by token. So the only
thing that differs between what student and teacher see is what the view added.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agentdistill.conversation.base import ContextPolicy, Message, Situation
from agentdistill.conversation.rows import RowBuilder
from agentdistill.conversation.template import ChatRenderer
from agentdistill.errors import TrainingError
from agentdistill.records import CONTEXT, Step, TokenRow, Trajectory
from agentdistill.teachers.views import Place, Privileged, with_privileged

Insert = Callable[[Sequence[Message], int], list[Message]]
"""(messages before a turn, index of the turn) -> the messages to show instead."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where the response of a turn is, in the student's rows and in those the teacher is shown.

    Attributes:
        step: index of the turn.
        row: row of the student.
        start: first token of the response there.
        end: one past its last token.
        shown_row: row of the teacher.
        shown_start: first token of the same response there.
    """

    step: int
    row: int
    start: int
    end: int
    shown_row: int
    shown_start: int


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """An episode as the teacher is shown it.

    Attributes:
        trajectory: the episode with the teacher's rows; its steps point into them. Rows nobody scores are left out.
        spans: the responses that get scores.
        added: tokens that the view put before a response, at most.
    """

    trajectory: Trajectory
    spans: tuple[Span, ...]
    added: int


def rerender(
    trajectory: Trajectory,
    privileged: Privileged,
    *,
    renderer: ChatRenderer,
    context: ContextPolicy,
    place: Place = "after",
) -> Shown:
    """Renders an episode as a teacher with a privileged view sees it.

    Args:
        trajectory: the episode, with the token rows the student saw.
        privileged: what to add.
        renderer: the student's.
        context: the context policy it played with.
        place: where words go in the message they are added to.

    Returns:
        The rows. Of every response the tokens are those that were sampled.

    Raises:
        TrainingError: the student's rows cannot be rendered again as they were.
    """
    plain = _replay(trajectory, renderer, context, lambda messages, _: list(messages), {})
    _check_same(trajectory, plain)

    def insert(messages: Sequence[Message], step: int) -> list[Message]:
        return with_privileged(messages, privileged, step, place)

    shown = _replay(trajectory, renderer, context, insert, plain.guided)
    wanted = [step for step in trajectory.steps if step.row >= 0 and privileged.scores(step.index)]
    used = sorted({shown.place[step.index][0] for step in wanted})
    rank = {old: new for new, old in enumerate(used)}
    spans = tuple(
        Span(step.index, step.row, step.start, step.end, rank[shown.place[step.index][0]], shown.place[step.index][1])
        for step in wanted
    )
    rows = [shown.rows[old] for old in used]
    episode = dataclasses.replace(trajectory, steps=[_moved(s, shown, rank) for s in trajectory.steps], rows=rows)
    return Shown(episode, spans, max((span.shown_start - span.start for span in spans), default=0))


@dataclass(frozen=True, slots=True, eq=False)
class _Replayed:
    """Rows, and by `Step.index` (row, start, end) in them of the student's turns, and the tokens of other turns."""

    rows: list[TokenRow]
    place: dict[int, tuple[int, int, int]]
    guided: dict[int, list[int]]


def _moved(step: Step, shown: _Replayed, rank: dict[int, int]) -> Step:
    row, start, end = shown.place.get(step.index, (-1, 0, 0))
    if step.row < 0 or row not in rank:
        return dataclasses.replace(step, row=-1, start=0, end=0)
    return dataclasses.replace(step, row=rank[row], start=start, end=end)


def _replay(
    trajectory: Trajectory,
    renderer: ChatRenderer,
    context: ContextPolicy,
    insert: Insert,
    guided: Mapping[int, list[int]],
) -> _Replayed:
    """Shows an episode turn by turn, as when it was played; `guided` are tokens of turns of others, as far as known."""
    goal = str(trajectory.meta.get("goal", ""))
    builder = RowBuilder(renderer)
    replayed = _Replayed([], {}, dict(guided))
    done: list[Step] = []
    for step in trajectory.steps:
        if not step.info.get("replayed"):
            admissible = step.info.get("admissible_actions") or ()
            situation = Situation(goal, step.observation, admissible, list(done), trajectory.task)
            prompt = builder.turn(insert(context.messages(situation), step.index))
            if step.row >= 0:
                replayed.place[step.index] = _respond(builder, step, trajectory.rows[step.row])
            else:
                if step.index not in replayed.guided:
                    replayed.guided[step.index] = _written(trajectory, step, prompt, renderer)
                builder.written(step.index, replayed.guided[step.index], learn=False)
        done.append(step)
    replayed.rows.extend(builder.rows())
    return replayed


def _respond(builder: RowBuilder, step: Step, row: TokenRow) -> tuple[int, int, int]:
    """Records the very tokens of a response."""
    ids = row.token_ids[step.start : step.end].tolist()
    if bool(row.mask[step.start : step.end].all()):
        return builder.sampled(step.index, ids, row.old_logprob[step.start : step.end].tolist())
    return builder.written(step.index, ids, learn=bool((row.step_of_token[step.start : step.end] != CONTEXT).any()))


def _written(trajectory: Trajectory, step: Step, prompt: Sequence[int], renderer: ChatRenderer) -> list[int]:
    """The tokens of a turn that somebody else played: they are context in the student's rows, behind its prompt."""
    start = len(prompt)
    for row in trajectory.rows:
        if len(row) > start and row.token_ids[:start].tolist() == list(prompt):
            rest = row.token_ids[start:].tolist()
            return rest[: rest.index(renderer.terminator) + 1] if renderer.terminator in rest else rest
    return renderer.response(step.response)  # its row was left out: nobody learns from it


def _check_same(trajectory: Trajectory, plain: _Replayed) -> None:
    """Makes sure that the rows without any words are the student's."""
    last: dict[int, Step] = {step.row: step for step in trajectory.steps if step.row >= 0}
    for number, step in last.items():
        row, start, end = plain.place[step.index]
        mine, theirs = trajectory.rows[number].token_ids[: step.end], plain.rows[row].token_ids[:end]
        if start == step.start and np.array_equal(mine, theirs):
            continue
        shorter = min(len(mine), len(theirs))
        different = np.flatnonzero(mine[:shorter] != theirs[:shorter])
        at = int(different[0]) if len(different) else shorter
        raise TrainingError(
            f"The prompts of the task {trajectory.task.key!r} (sample {trajectory.sample}) cannot be rendered again: "
            f"row {number} differs from token {at} on.",
            "A privileged teacher adds words to the very prompts that the student saw; the context policy gives others "
            "for the same turns, or the episode was played with another one.",
            "Use a context policy that depends on the situation only, and episodes played with it.",
        )
