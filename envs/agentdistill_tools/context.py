"""Context policy `tool-turns`: a growing conversation in which the agent's whole response is what it does."""

from __future__ import annotations

from agentdistill.conversation.base import Message, ParsedAction, Situation
from agentdistill.hashing import digest
from agentdistill.plugins import PluginConfig
from agentdistill_tools import formats

_TASK = "{observation}\n\nYour task is to: {task}"


class ToolTurnsConfig(PluginConfig):
    """Options of the context policy `tool-turns`.

    Attributes:
        think: responses may begin with <think>...</think>, which the environment does not get to see. A response that
            begins with <think> and does not close it does nothing.
        system: put the instructions and tools into a system message, as chat templates for tools do; otherwise they
            stand above the question.
    """

    think: bool = True
    system: bool = True


class ToolTurnsContext:
    """The first observation (instructions and question), then results as user messages.

    Nothing is read from a response here but where its thoughts end: what is a call and what an answer, and whether they
    are well formed, is the environment's to say.

    Args:
        config: options.
    """

    fresh_rows = False

    def __init__(self, config: ToolTurnsConfig) -> None:
        self._config = config

    @property
    def needs(self) -> frozenset[str]:
        """What it must know of past steps beside their texts: nothing."""
        return frozenset()

    def messages(self, situation: Situation) -> list[Message]:
        """The whole conversation so far."""
        seen = [*(step.observation for step in situation.steps), situation.observation]
        result = self._opening(situation.task, seen[0])
        for step, observation in zip(situation.steps, seen[1:], strict=True):
            result.append(Message("assistant", step.response, step.index))
            result.append(Message("user", observation))
        return result

    def _opening(self, task: str, observation: str) -> list[Message]:
        if self._config.system and formats.QUESTION in observation:
            before, _, question = observation.partition(formats.QUESTION)
            return [Message("system", before), Message("user", question)]
        if task.strip() not in observation:
            observation = _TASK.format(observation=observation, task=task)
        return [Message("user", observation)]

    def parse(self, response: str) -> ParsedAction:
        """The response without its thoughts."""
        text = response.strip()
        if self._config.think and text.startswith("<think>"):
            _, closed, text = text.partition("</think>")
            text = text.strip() if closed else ""
        return ParsedAction(text, bool(text))

    def render_action(self, action: str) -> str:
        """The action is the response."""
        return action

    @property
    def prompt_hash(self) -> str:
        """Sixteen hex digits over wording and options."""
        return digest(["tool-turns", formats.VERSION, _TASK, self._config.model_dump()])[:16]
