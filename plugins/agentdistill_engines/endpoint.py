"""Engine `endpoint`: whoever answers at an OpenAI-compatible chat endpoint plays, and no model is loaded here.

It is what `agentdistill eval --agent URL` and `agentdistill play --agent URL` use. The endpoint is shown the messages
of the context policy, word for word, and its answer is read as a student's would be; nothing is repaired or asked
again. Its tokens are not known here, so the rows of its episodes are empty: it can be evaluated, and nothing can be
learned from it. Where token ids shall go in and out, sample from the server with the engine `vllm` instead.

A prompt that does not fit the endpoint's context ends its episode (stop "context_limit"), as it does for a local model.

Defaults: answers are not kept on disk, unlike those of judges and teachers. A result must say what the endpoint answers
now, and a server may have got another model under the same name and address.

Proofs: tests/engines/test_endpoint.py (messages, sampling, seeds, usage and limits on the wire) and
tests/vllm/test_endpoint_agent.py (a served starter plays as it does in this process).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from agentdistill.clients import ChatAnswer, ChatClient, ChatRequest, EndpointConfig, EndpointError
from agentdistill.clients.completions import CompletionsClient
from agentdistill.clients.running import run_all, run_async
from agentdistill.clients.server_settings import ServerConfig
from agentdistill.engines.base import Generation, GenerationRequest, Sampling
from agentdistill.errors import ConfigError, PluginError
from agentdistill.evaluate.spending import Spent, usage

if TYPE_CHECKING:
    from agentdistill.conversation.base import ContextPolicy, Message

UNLIMITED = 2**31
"""What `context_length` says: only the endpoint knows."""

TOO_LONG = ("context length", "context_length", "maximum model length", "max_model_len", "too long")
"""Words by which servers refuse a prompt that does not fit."""


class EndpointAgentConfig(EndpointConfig):
    """Options of the engine `endpoint`; temperature, top_p and length are those of [rollout] and [eval].

    Attributes:
        model: the name the endpoint knows the model by; by default the only one it lists.
        cache: keep answers on disk; only for an endpoint whose model is known not to change.
        send_seed: send a seed where anything is sampled; some endpoints refuse it.
        thoughts: put reasoning that the endpoint separates from its answer in front of it, between <think> tags.
    """

    model: str = ""
    cache: bool = False
    send_seed: bool = True
    thoughts: bool = False


class EndpointAgent:
    """Plays through a chat endpoint.

    Args:
        config: the endpoint.
        context: shows the episode.

    Raises:
        MissingExtraError: the extra `api` is not installed.
        ConfigError: the key is missing, or it is not clear which model is meant.
        EndpointError: the endpoint cannot be reached.

    Attributes:
        renderer: gives prompts without tokens, in the place of a tokenizer.
        client: asks the endpoint, and keeps account.
    """

    context_length = UNLIMITED

    def __init__(self, config: EndpointAgentConfig, context: ContextPolicy) -> None:
        if not config.model:
            config = config.model_copy(update={"model": _only_model(config)})
        self._config, self._context = config, context
        self.client = ChatClient(config)
        self.renderer = NoTokens()

    def provenance(self) -> dict[str, Any]:
        """Who played, by which protocol, and what it was asked."""
        return {
            "endpoint": self._config.url,
            "model": self._config.model,
            "protocol": "chat completions",
            "body": dict(self._config.body),
            "usage": self.client.usage.metrics(),
        }

    def generate(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> list[Generation]:
        """One answer for each request, asked for all at once.

        Raises:
            ConfigError: the responses shall be restricted, which a chat endpoint cannot do.
            PluginError: whoever asks does not say what the prompt was made from.
            EndpointError: the endpoint refuses, does not answer, or has spent its budget.
        """
        asked = [self.question(request, sampling) for request in requests]
        return run_async(self._answers(asked))

    def release(self, sessions: Iterable[str]) -> None:
        """There is nothing to forget."""

    def sync(self, policy_version: int) -> None:
        """Its weights are not ours to change."""

    def question(self, request: GenerationRequest, sampling: Sampling) -> ChatRequest:
        """What the endpoint is asked in a turn."""
        if request.allowed is not None:
            raise ConfigError(
                "A chat endpoint cannot be restricted to admissible actions.",
                "It takes and gives words, no tokens.",
                "Set eval.constrained = false and rollout.constrained = false.",
            )
        if request.situation is None:
            raise PluginError(
                "An agent that reads words was asked to answer a prompt of token ids.",
                "The request does not say what the prompt was made from.",
                "Whoever asks engines fills `GenerationRequest.situation`.",
            )
        messages = [{"role": m.role, "content": m.content} for m in self._context.messages(request.situation)]
        sampled = sampling.temperature > 0
        return ChatRequest(
            messages,
            sample=request.seed if sampled else 0,
            seed=request.seed % 2**31 if sampled and self._config.send_seed else None,
            max_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            body={"top_p": sampling.top_p} if sampling.top_p < 1 else {},
        )

    async def _answers(self, asked: Sequence[ChatRequest]) -> list[Generation]:
        slots = asyncio.Semaphore(self._config.concurrency)

        async def one(request: ChatRequest) -> Generation:
            async with slots:
                try:
                    (answer,) = await self.client.acomplete([request])
                except EndpointError as error:
                    # An episode that outgrows the context ends; the others go on.
                    if error.status in (400, 413, 422) and any(words in str(error).lower() for words in TOO_LONG):
                        return Generation([], [], "context")
                    raise
                return self._generation(answer)

        return await run_all(one(request) for request in asked)

    def _generation(self, answer: ChatAnswer) -> Generation:
        text = answer.text
        if self._config.thoughts and answer.reasoning:
            text = f"<think>\n{answer.reasoning.strip()}\n</think>\n{text.strip()}"
        read, written = answer.prompt_tokens, answer.completion_tokens
        prices = (0.0, 0.0) if answer.cached else (self._config.price_in, self._config.price_out)
        if read is None or written is None:
            prices = (None, None)
        spent = Spent.priced(1, read or 0, written or 0, *prices)
        cut = answer.finish == "length"
        return Generation([], [], "length" if cut else "stop", text=text, info=usage(agent=spent))


class NoTokens:
    """A renderer for somebody whose tokens nobody here knows: every prompt and every response has none."""

    incremental = True
    stop_ids: tuple[int, ...] = ()
    tokenizer = None

    def prompt(self, messages: Sequence[Message], sampled: Any = None) -> list[int]:
        """No tokens."""
        return []

    def continuation(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """No tokens."""
        return ()

    def response(self, text: str) -> list[int]:
        """No tokens."""
        return []

    def closed(self, response: Sequence[int]) -> list[int]:
        """The response as it is."""
        return list(response)


def _only_model(config: EndpointAgentConfig) -> str:
    """The model that an endpoint serves, when it is the only one.

    Raises:
        ConfigError: it is not.
    """
    server = ServerConfig(url=config.url, key_variable=config.key_variable, timeout=config.timeout)
    found = CompletionsClient(server).get(f"{config.url}/models")
    names = [str(one.get("id")) for one in found.get("data", ())] if isinstance(found, dict) else []
    if len(names) == 1:
        return names[0]
    shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    raise ConfigError(
        f"The endpoint {config.url} serves {len(names)} models.",
        f"They are {shown}." if names else "It does not list them.",
        "Say which one with --engine.model NAME.",
    )
