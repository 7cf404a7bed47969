"""The contract of context policies: the steps so far become messages, a response becomes an action."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from agentdistill.records import Step, Task


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message.

    Attributes:
        role: chat role.
        content: text. For an assistant message of a turn that was played with tokens, the renderer uses the
            very token ids that were sampled and never re-tokenises this text.
        step: index of the step whose response this is (assistant messages only).
    """

    role: Literal["system", "user", "assistant"]
    content: str
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything a context policy may show the agent before a turn.

    Attributes:
        task: the goal in words.
        observation: the current observation (the first one of the episode included).
        admissible: commands the environment accepts now.
        steps: the turns so far.
        about: the task itself; for policies that must not show what they know about it. Never shown.
    """

    task: str
    observation: str
    admissible: Sequence[str] = field(default=())
    steps: Sequence[Step] = field(default=())
    about: Task | None = None


@dataclass(frozen=True, slots=True)
class ParsedAction:
    """A response turned into a command.

    Attributes:
        action: the command, "" when none was found.
        well_formed: the response followed the format the prompt asked for.
    """

    action: str
    well_formed: bool


class ContextPolicy(Protocol):
    """Turns the episode so far into messages, and responses into actions.

    Optional members: `hold_out(tasks)` is told which tasks are about to be evaluated, so that nothing that the policy
    knows about them is shown from then on; `notes()` gives sentences that a result over them should carry.
    """

    def messages(self, situation: Situation) -> list[Message]:
        """The full conversation to show before this turn. It must contain the task on every turn."""
        ...

    def parse(self, response: str) -> ParsedAction:
        """Finds the action in a response."""
        ...

    def render_action(self, action: str) -> str:
        """The response an expert would write to take this action (for demonstrations and replayed prefixes)."""
        ...

    @property
    def prompt_hash(self) -> str:
        """Hash over the templates and options; it goes into every result."""
        ...
