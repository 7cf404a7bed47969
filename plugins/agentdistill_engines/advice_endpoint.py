"""A teacher behind an OpenAI-compatible chat endpoint that is asked for single turns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from agentdistill.clients import ChatClient, ChatRequest, EndpointConfig
from agentdistill.conversation.base import ContextPolicy
from agentdistill.engines.base import GenerationRequest, Sampling
from agentdistill.errors import ConfigError
from agentdistill.evaluate.spending import Spent
from agentdistill.plugins import SectionOf
from agentdistill_engines.advice import Advice, situation_of


class EndpointAdviserConfig(EndpointConfig):
    """A teacher behind an OpenAI-compatible chat endpoint.

    Attributes:
        context: a context policy of its own, for a teacher that shall not read the student's prompt.
    """

    context: Annotated[dict[str, Any] | None, SectionOf("context")] = None


class EndpointAdviser:
    """A model behind a chat endpoint.

    Costs are those of answers nobody has asked for before: one that is cached counts what it cost the first time, so
    that a repeated evaluation tells the same.

    Args:
        config: the endpoint.
        context: turns the episode into messages.
    """

    def __init__(self, config: EndpointAdviserConfig, context: ContextPolicy) -> None:
        self._config, self._context = config, context
        self._client = ChatClient(config)

    def answer(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> list[Advice]:
        """Asks for all answers at once.

        Raises:
            ConfigError: responses are restricted to some, which an endpoint cannot do.
            EndpointError: it cannot be reached, refuses a question, or its budget is spent.
        """
        if any(request.allowed is not None for request in requests):
            raise ConfigError(
                "A chat endpoint cannot be held to the admissible actions.",
                "It samples by itself.",
                "Turn `constrained` off, or use a teacher of this process.",
            )
        asked = [ChatRequest(self._said(request), sample=self._sample(request)) for request in requests]
        config, found = self._config, self._client.complete(asked)
        advice = []
        for answer in found:
            read, written = answer.prompt_tokens, answer.completion_tokens
            known = read is not None and written is not None
            prices = (config.price_in, config.price_out) if known else (None, None)
            spent = Spent.priced(1, read or 0, written or 0, *prices)
            advice.append(Advice(answer.text, "length" if answer.finish == "length" else "stop", spent))
        return advice

    def _said(self, request: GenerationRequest) -> list[dict[str, str]]:
        messages = self._context.messages(situation_of(request))
        return [{"role": message.role, "content": message.content} for message in messages]

    def _sample(self, request: GenerationRequest) -> int:
        return 0 if self._config.temperature == 0.0 else request.seed % 2**31

    def release(self, sessions: Iterable[str]) -> None:
        """There is nothing to forget."""

    def provenance(self) -> Mapping[str, Any]:
        """Name of the model, address and temperature."""
        config = self._config
        return {"model": config.model, "url": config.url, "temperature": config.temperature}
