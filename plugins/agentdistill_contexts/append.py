"""Context policy `append`: one conversation that only grows, and so one token row an episode."""

from __future__ import annotations

from collections.abc import Sequence

from agentdistill.conversation.base import Message, ParsedAction, Situation
from agentdistill.hashing import digest
from agentdistill.plugins import PluginConfig
from agentdistill_contexts.formats import PARSER_VERSION, bullet_list, parse_bare, parse_tagged, render_tagged

TASK = "{observation}\n\nYour task is to: {task}."
COMMANDS = "{observation}\n\nYou can do one of:\n{commands}"
THINK = (
    "First reason about the situation inside <think> and </think>, then give exactly one command inside <action> "
    "and </action>."
)


class AppendConfig(PluginConfig):
    """Options of the context policy `append`. The defaults suit models trained on bare observations and commands.

    Attributes:
        admissible: list the commands the environment accepts below every observation.
        think: ask for `<think>...</think><action>...</action>` instead of the bare command.
        system: text of a system message before everything; "" is none.
    """

    admissible: bool = False
    think: bool = False
    system: str = ""


class AppendContext:
    """The first user message is the first observation with the task; each later one the raw observation.

    Args:
        config: options.
    """

    fresh_rows = False

    def __init__(self, config: AppendConfig) -> None:
        self._config = config
        self._before = "\n\n".join(text for text in (config.system, THINK if config.think else "") if text)

    @property
    def needs(self) -> frozenset[str]:
        """What it must know of past steps: {"admissible_actions"} when it lists commands."""
        return frozenset({"admissible_actions"} if self._config.admissible else ())

    def messages(self, situation: Situation) -> list[Message]:
        """The whole conversation so far; the task is in its first user message."""
        result = [Message("system", self._before)] if self._before else []
        for position, step in enumerate(situation.steps):
            known = step.info.get("admissible_actions", ())
            result.append(self._user(situation.task, step.observation, known, position == 0))
            result.append(Message("assistant", step.response, step.index))
        first = not situation.steps
        result.append(self._user(situation.task, situation.observation, situation.admissible, first))
        return result

    def _user(self, task: str, observation: str, admissible: Sequence[str], first: bool) -> Message:
        text = observation
        if first and task and task.strip().rstrip(".") not in observation:
            text = TASK.format(observation=text, task=task.strip().rstrip("."))
        if self._config.admissible and admissible:
            text = COMMANDS.format(observation=text, commands=bullet_list(list(admissible)))
        return Message("user", text)

    def parse(self, response: str) -> ParsedAction:
        """The bare command, or the tagged one when the policy asks for thoughts."""
        return parse_tagged(response, think=True) if self._config.think else parse_bare(response)

    def render_action(self, action: str) -> str:
        """The response that takes an action."""
        return render_tagged(action, think=True) if self._config.think else action

    @property
    def prompt_hash(self) -> str:
        """Sixteen hex digits over templates and options."""
        return digest(["append", PARSER_VERSION, TASK, COMMANDS, THINK, self._config.model_dump()])[:16]
