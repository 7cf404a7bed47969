"""A teacher in this process that is asked for single turns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from agentdistill.conversation.base import ContextPolicy, Message
from agentdistill.conversation.template import ChatRenderer
from agentdistill.engines.base import Engine, GenerationRequest, Sampling
from agentdistill.evaluate.spending import Spent
from agentdistill.models import generation_stop_ids, load_model
from agentdistill.plugins import PluginConfig, SectionOf
from agentdistill_engines.advice import Advice, situation_of

if TYPE_CHECKING:
    from agentdistill.plugins import PluginRegistry


class ModelAdviserConfig(PluginConfig):
    """A teacher in this process.

    Attributes:
        model: a registered model's name, a directory, or a hub id. Its tokenizer may be another than the student's.
        dtype: dtype of the weights.
        device: torch device.
        sampler: the engine that samples from it; a `type` and that plugin's options.
        temperature: of its answers; 0 is greedy.
        max_new_tokens: longest answer; unset is what the student may write.
        context: a context policy of its own, for a teacher that shall not read the student's prompt.
        price_in: US dollars per million tokens read; without prices, costs are unknown.
        price_out: US dollars per million tokens written.
    """

    model: str
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str = "cpu"
    sampler: Annotated[dict[str, Any], SectionOf("engine")] = Field(default_factory=lambda: {"type": "hf"})
    temperature: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    max_new_tokens: int | None = Field(default=None, ge=1)
    context: Annotated[dict[str, Any] | None, SectionOf("context")] = None
    price_in: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)
    price_out: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)


class ModelAdviser:
    """A model of this process; it reads the same words as the student, in its own tokens and chat template.

    Args:
        config: which model, and how it is asked.
        context: turns the episode into messages.
        registry: where models and engines are looked up.
    """

    def __init__(self, config: ModelAdviserConfig, context: ContextPolicy, registry: PluginRegistry) -> None:
        self._config, self._context = config, context
        self._model = load_model(config.model, registry=registry, device=config.device, dtype=config.dtype)
        stops = generation_stop_ids(self._model.model)
        # Prompts are rendered as a whole, so that any template will do.
        self._renderer = ChatRenderer(self._model.tokenizer, per_turn=True, extra_stop_ids=stops)
        self._engine: Engine = registry.build("engine", config.sampler, "engine.teacher.sampler", model=self._model)

    def answer(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> list[Advice]:
        """Samples all answers in one batch."""
        config, renderer = self._config, self._renderer
        longest = config.max_new_tokens or sampling.max_new_tokens
        asked = [self._translated(request) for request in requests]
        found = self._engine.generate(asked, Sampling(longest, renderer.stop_ids, config.temperature))
        return [
            Advice(
                renderer.decode(answer.token_ids),
                answer.finish,
                Spent.priced(1, len(request.prompt), len(answer.token_ids), config.price_in, config.price_out)
                if answer.finish != "context"
                else Spent(),
            )
            for request, answer in zip(asked, found, strict=True)
        ]

    def _translated(self, request: GenerationRequest) -> GenerationRequest:
        situation, renderer = situation_of(request), self._renderer
        allowed = None
        if request.allowed is not None:
            renders = self._context.render_action
            allowed = tuple(tuple(renderer.response(renders(action))) for action in situation.admissible)
        return GenerationRequest(
            request.session, renderer.prompt(unsampled(self._context.messages(situation))), request.seed, allowed
        )

    def release(self, sessions: Iterable[str]) -> None:
        """Drops the cached conversations."""
        self._engine.release(sessions)

    def close(self) -> None:
        """Ends what the engine started."""
        if hasattr(self._engine, "close"):
            self._engine.close()

    def provenance(self) -> Mapping[str, Any]:
        """Name and fingerprint of the model, and its temperature."""
        config = self._config
        return {"model": config.model, "fingerprint": self._model.fingerprint, "temperature": config.temperature}


def unsampled(messages: Sequence[Message]) -> list[Message]:
    """Messages for another model than the one that wrote them: their tokens are its own."""
    return [Message(message.role, message.content) for message in messages]
