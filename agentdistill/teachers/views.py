"""Privileged views: what a teacher is shown about an episode that the student who played it was not.

A view looks at finished episodes and says, for each, which words to add to the student's prompts: a reference
solution, the way a sibling solved the same task, what the environment answered afterwards, skills. The core renders the
student's rows anew with these words in them (`agentdistill.teachers.rerender`), keeps every response token as it was
sampled, and puts the scores back at the student's positions (`agentdistill.teachers.offsets`). A view never sees
token ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from agentdistill.conversation.base import Message
from agentdistill.errors import TrainingError
from agentdistill.records import Trajectory

Scope = Literal["instance", "shared"]
"""Of whom a view tells: of the very task that is played, or of many tasks at once."""

Place = Literal["after", "before"]
"""Where words go in the message they are added to."""


@dataclass(frozen=True, slots=True)
class Privileged:
    """What is shown about one episode. Without any words, the teacher sees what the student saw.

    Attributes:
        opening: words added to the first user message of every prompt; "" is none.
        turns: words added to the message just before a turn's response, by `Step.index`.
        scored: turns that get scores, by `Step.index`; None is all. The others have no opinion.
        remembered: a turn's words stay in the conversation when it goes on, so that it remains one row; otherwise each
            turn sees its own words only, which costs a growing conversation one row per turn.
    """

    opening: str = ""
    turns: Mapping[int, str] = field(default_factory=dict)
    scored: frozenset[int] | None = None
    remembered: bool = True

    def scores(self, step: int) -> bool:
        """Whether a turn gets scores."""
        return self.scored is None or step in self.scored


class View(Protocol):
    """Says what to show about each episode of a batch.

    Attributes:
        scope: "instance" when it tells of the task that is being played, "shared" when what it shows holds for many.
        siblings: it looks at the other episodes of the batch; what it shows then cannot be cached by episode.
        needs: what it needs of the episodes, e.g. {"expert_action"}.
    """

    @property
    def scope(self) -> Scope:
        """Of whom it tells."""
        ...

    @property
    def siblings(self) -> bool:
        """Whether it compares episodes."""
        ...

    @property
    def needs(self) -> frozenset[str]:
        """What it needs of the episodes."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever it could show something else of the same episodes: options, files, wording."""
        ...

    def show(self, trajectories: Sequence[Trajectory]) -> list[Privileged | None]:
        """What to show about each episode, in order; None has nothing to show, and the episode gets no scores.

        All episodes of one task of a batch come in one call (`Trajectory.task` tells). Nothing may be changed in them.
        """
        ...


def with_privileged(
    messages: Sequence[Message], privileged: Privileged, step: int, place: Place = "after"
) -> list[Message]:
    """The messages before a turn, with the words of a view in them.

    Args:
        messages: what the student was shown.
        privileged: what to add.
        step: index of the turn.
        place: before or after what the message says.

    Raises:
        TrainingError: there is no user message to add to.
    """
    said: dict[int, list[str]] = {}
    users = [position for position, message in enumerate(messages) if message.role == "user"]
    if not users and (privileged.opening or privileged.turns.get(step)):
        raise TrainingError(
            "A privileged view has no place for its words.",
            f"The roles of the messages before turn {step} are {', '.join(m.role for m in messages) or 'none'}.",
            "Use a context policy that shows the task in a user message.",
        )
    if privileged.opening:
        said[users[0]] = [privileged.opening]
    if privileged.remembered:
        for position, message in enumerate(messages):
            before = position - 1
            words = privileged.turns.get(message.step, "") if message.step is not None else ""
            if words and before >= 0 and messages[before].role == "user":
                said.setdefault(before, []).append(words)
    if words := privileged.turns.get(step, ""):
        said.setdefault(users[-1], []).append(words)
    return [
        Message(message.role, _joined(message.content, said[position], place), message.step)
        if position in said
        else message
        for position, message in enumerate(messages)
    ]


def _joined(content: str, words: Sequence[str], place: Place) -> str:
    return "\n\n".join([content, *words] if place == "after" else [*words, content])
