"""Context policy `window`: a fresh prompt each turn with the last few steps, as agents on text worlds are often shown.

The prompt published with the windowed agents of the ALFWorld literature drops the task on some turns; here it is
on every turn. The wording is our own.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentdistill.conversation.base import Message, ParsedAction, Situation
from agentdistill.hashing import digest
from agentdistill.plugins import PluginConfig
from agentdistill.records import Step
from agentdistill_contexts.formats import PARSER_VERSION, bullet_list, parse_tagged, render_tagged

OPENING = "You act in a world described in words, one command at a time.\nYour task is to: {task}."
HISTORY = "You have taken {count} {unit} so far. The most recent, oldest first:\n{steps}"
STEP = "[{number}] You saw: {observation}\n[{number}] You did: {action}"
NOW = "Now you see: {observation}"
COMMANDS = "The commands you can give now:\n{commands}"
THINK = (
    "Decide on the next command. First reason step by step about what the task still needs, inside <think> and "
    "</think>. Then give exactly one command inside <action> and </action>."
)
ACT = "Give exactly one command inside <action> and </action>, and nothing else."


class WindowConfig(PluginConfig):
    """Options of the context policy `window`.

    Attributes:
        steps: how many of the last steps are shown.
        admissible: list the commands the environment accepts.
        think: ask for a thought before the action.
        hidden: commands never listed; they change nothing in the world.
    """

    steps: int = 2
    admissible: bool = True
    think: bool = True
    hidden: tuple[str, ...] = ("help",)


class WindowContext:
    """One user message a turn: task, recent steps, observation, commands, response format.

    Args:
        config: options.
    """

    fresh_rows = True

    def __init__(self, config: WindowConfig) -> None:
        self._config = config

    @property
    def needs(self) -> frozenset[str]:
        """What it must know of a step: {"admissible_actions"} when it lists commands."""
        return frozenset({"admissible_actions"} if self._config.admissible else ())

    def messages(self, situation: Situation) -> list[Message]:
        """The prompt of this turn."""
        parts = [OPENING.format(task=situation.task.strip().rstrip("."))]
        if situation.steps and self._config.steps > 0:
            parts.append(self._history(situation.steps))
        parts.append(NOW.format(observation=situation.observation.strip()))
        listed = [command for command in situation.admissible if command not in self._config.hidden]
        if self._config.admissible and listed:
            parts.append(COMMANDS.format(commands=bullet_list(listed)))
        parts.append(THINK if self._config.think else ACT)
        return [Message("user", "\n\n".join(parts))]

    def _history(self, steps: Sequence[Step]) -> str:
        recent = steps[-self._config.steps :]
        first = len(steps) - len(recent) + 1
        lines = [
            STEP.format(
                number=first + offset,
                observation=step.observation.strip(),
                action=step.action or "(no command could be read)",
            )
            for offset, step in enumerate(recent)
        ]
        return HISTORY.format(count=len(steps), unit="step" if len(steps) == 1 else "steps", steps="\n".join(lines))

    def parse(self, response: str) -> ParsedAction:
        """The tagged command; strictly thought then command when thoughts are asked for."""
        return parse_tagged(response, think=self._config.think)

    def render_action(self, action: str) -> str:
        """The response that takes an action."""
        return render_tagged(action, think=self._config.think)

    @property
    def prompt_hash(self) -> str:
        """Sixteen hex digits over templates and options."""
        templates = [OPENING, HISTORY, STEP, NOW, COMMANDS, THINK, ACT]
        return digest(["window", PARSER_VERSION, templates, self._config.model_dump()])[:16]
