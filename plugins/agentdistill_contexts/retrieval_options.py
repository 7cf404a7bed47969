"""Options of the context policy `retrieval`, and where in a conversation its demonstrations belong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from agentdistill.conversation.base import Message, Situation
from agentdistill.errors import DataError
from agentdistill.plugins import PluginConfig, SectionOf
from agentdistill_contexts.teacher_steps import TeacherEpisodes


class RetrievalConfig(PluginConfig):
    """Options of the context policy `retrieval`.

    Attributes:
        store: trajectory store with the teacher's episodes, as `agentdistill collect` writes them.
        context: the policy that shows everything else; a `type` and that policy's options.
        k: how many teacher steps are shown.
        when: "turn" looks them up anew in every turn, "episode" once at its start.
        form: "text" tells them in one block; "turns" shows the conversations they come from.
        actions: how many of the last actions count for nearness.
        per_episode: most steps shown of one teacher episode.
        index: "words" (BM25), or "embedding" with `model`.
        model: directory or hub id of a sentence encoder, for `index = "embedding"`.
        pooling: how that encoder makes one vector, "mean" or "cls".
        query_prefix: text that the encoder wants in front of queries.
        passage_prefix: text that the encoder wants in front of what is searched.
        held_out: which episodes an evaluation leaves out: of the evaluated "tasks", of their whole "split"; or "refuse"
            to evaluate with a store that holds any of the evaluated tasks.
        twins: "drop" leaves out episodes that began with the same observation and goal as the one that is played;
            "keep" shows them (some benchmarks have several games of one room and goal).
        failures: show steps of episodes that were not won, too.
    """

    store: str
    context: Annotated[dict[str, Any], SectionOf("context")] = Field(default_factory=lambda: {"type": "append"})
    k: int = Field(default=3, ge=1)
    when: Literal["turn", "episode"] = "turn"
    form: Literal["text", "turns"] = "text"
    actions: int = Field(default=2, ge=0)
    per_episode: int = Field(default=1, ge=1)
    index: Literal["words", "embedding"] = "words"
    model: str | None = None
    pooling: Literal["mean", "cls"] = "mean"
    query_prefix: str = ""
    passage_prefix: str = ""
    held_out: Literal["split", "tasks", "refuse"] = "split"
    twins: Literal["drop", "keep"] = "drop"
    failures: bool = False


def turns_of(messages: Sequence[Message], now: int) -> list[tuple[int, int]]:
    """Where the user messages that a turn answers stand, with that turn, in order."""
    found = []
    for place, message in enumerate(messages):
        following = messages[place + 1] if place + 1 < len(messages) else None
        if message.role == "user" and following is None:
            found.append((place, now))
        elif message.role == "user" and following is not None and following.role == "assistant":
            found.append((place, now if following.step is None else following.step))
    return found


def before(situation: Situation, turn: int) -> Situation:
    """The situation before an earlier turn."""
    step = situation.steps[turn]
    known = tuple(step.info.get("admissible_actions") or ())
    return Situation(situation.task, step.observation, known, situation.steps[:turn], situation.about)


def require_commands(held: TeacherEpisodes) -> None:
    """Checks that every turn of a store can be shown by a policy that lists commands.

    Raises:
        DataError: they were not recorded.
    """
    for episode in held.episodes:
        if any("admissible_actions" not in step.info for step in episode.steps):
            raise DataError(
                f"The episode of task {episode.task.key!r} cannot be shown as a conversation.",
                "The wrapped context policy lists the admissible actions, and they were not recorded.",
                'Collect it again with that context policy, or use form = "text".',
            )
