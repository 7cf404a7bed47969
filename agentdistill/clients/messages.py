"""Requests and answers of a chat endpoint, and how they look on the wire."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from agentdistill.clients.errors import EndpointError, server_words
from agentdistill.clients.settings import EndpointConfig
from agentdistill.hashing import digest


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One conversation to be continued.

    Attributes:
        messages: what was said, as {"role", "content"} mappings.
        sample: tells apart requests that are alike but shall have answers of their own; never sent.
        seed: sent to the endpoint when given.
        max_tokens: longest answer, in place of the endpoint's setting.
        temperature: in place of the endpoint's setting.
        body: more fields of this request, e.g. {"stop": ["</answer>"]}.
    """

    messages: Sequence[Mapping[str, str]]
    sample: int = 0
    seed: int | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    body: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, user: str, system: str = "", **options: Any) -> Self:
        """A request of one user message, with or without a system message."""
        messages = [{"role": "system", "content": system}] if system else []
        return cls([*messages, {"role": "user", "content": user}], **options)

    def payload(self, endpoint: EndpointConfig) -> dict[str, Any]:
        """The JSON body."""
        messages = [{name: _sendable(text) for name, text in message.items()} for message in self.messages]
        body: dict[str, Any] = {"model": endpoint.model, "messages": messages}
        temperature = endpoint.temperature if self.temperature is None else self.temperature
        optional = {"temperature": temperature, "top_p": endpoint.top_p, "seed": self.seed}
        body |= {name: value for name, value in optional.items() if value is not None}
        body[endpoint.length_field] = self.max_tokens or endpoint.max_tokens
        return body | endpoint.body | dict(self.body)

    def identity(self, endpoint: EndpointConfig) -> str:
        """64 hex digits over everything an answer depends on: who is asked, the whole body, and the sample."""
        return digest([endpoint.served_as or endpoint.url, self.payload(endpoint), self.sample])


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """What came back.

    Attributes:
        text: the message, without its reasoning where the endpoint separates the two.
        finish: "stop" when the model was done, "length" when it was cut off, or the endpoint's own word.
        prompt_tokens: tokens read, None when the endpoint does not say.
        completion_tokens: tokens written, reasoning included; None when the endpoint does not say.
        reasoning: the reasoning that the endpoint separated, "" for none.
        choice: the endpoint's whole choice, with log-probabilities and the like.
        cached: it came from the cache and cost nothing.
    """

    text: str
    finish: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning: str = ""
    choice: Mapping[str, Any] = field(default_factory=dict)
    cached: bool = False


def read_answer(body: bytes, url: str, clean: Callable[[str], str] = str) -> ChatAnswer:
    """Reads the body of an answer with status 200.

    Args:
        body: what came.
        url: of the endpoint, for errors.
        clean: takes the key out of what an error quotes.

    Raises:
        EndpointError: it is no JSON (transient: proxies cut answers), or not of the shape of a chat completion.
    """
    words = server_words(clean(body.decode("utf-8", "replace")))
    try:
        # Half a surrogate pair is legal in JSON and in nothing else: it becomes a question mark.
        value = json.loads(json.dumps(json.loads(body), ensure_ascii=False).encode("utf-8", "replace"))
    except ValueError as error:
        raise EndpointError(
            f"The answer of {url} is not JSON.", f"It begins: {words!r}.", "Check the address.", transient=True
        ) from error
    try:
        return answer_from(value)
    except (KeyError, IndexError, TypeError) as error:
        raise EndpointError(
            f"The answer of {url} is no chat completion.",
            f"It has no text where choices[0].message.content should be: {words!r}.",
            "The address must be that of an OpenAI-compatible endpoint, without /chat/completions.",
        ) from error


def answer_from(value: Mapping[str, Any]) -> ChatAnswer:
    """Takes a decoded chat completion apart.

    Raises:
        KeyError: a part is missing; IndexError, TypeError: it is of another shape.
    """
    choice = value["choices"][0]
    message = choice["message"]
    text = message.get("content")
    reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
    if text is None and reasoning:
        text = ""  # cut off while still reasoning: `finish` says so
    if not isinstance(text, str) or not isinstance(reasoning, str):
        raise TypeError("no text")
    usage = value.get("usage") or {}
    return ChatAnswer(
        text=text,
        finish=str(choice.get("finish_reason") or "stop"),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        reasoning=reasoning,
        choice=dict(choice),
    )


def _sendable(text: str) -> str:
    """A text without half surrogate pairs, which environments may utter and UTF-8 cannot say."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
