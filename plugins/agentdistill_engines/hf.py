"""Engine `hf`: batched multi-turn sampling on a `transformers` causal LM in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from agentdistill.engines.base import Generation, GenerationRequest, Sampling
from agentdistill.errors import ConfigError
from agentdistill.plugins import PluginConfig
from agentdistill_engines.decode import decode
from agentdistill_engines.plain import PlainStepper
from agentdistill_engines.reuse import ReuseStepper
from agentdistill_engines.slots import SlotCache, SlotTable
from agentdistill_engines.support import require_reuse

if TYPE_CHECKING:
    from agentdistill.models import LoadedModel


class HfConfig(PluginConfig):
    """Options of the engine `hf`.

    Attributes:
        kv_reuse: keep every conversation's KV cache across turns. Off: each turn's prompt is prefilled anew, which
            works for models with sliding windows or recurrent layers.
        max_sessions: most conversations whose cache is kept, and most rows of a batch. The one unused for longest
            makes room for a new one. Memory is about max_sessions x longest conversation x bytes per token.
        max_context: most tokens of a row, prompt and response together; by default what the model's config says.
    """

    kv_reuse: bool = True
    max_sessions: int = 128
    max_context: int | None = None


class HfEngine:
    """Samples from a model of this process; the learner may train the same weights between calls.

    Args:
        config: options.
        model: the student.

    Raises:
        ConfigError: an option is out of range, or the model cannot keep its cache across turns.
    """

    capabilities: frozenset[str] = frozenset({"entropy", "top_ids"})

    def __init__(self, config: HfConfig, model: LoadedModel) -> None:
        # Adapters live inside the layers: the model below the wrapper samples with them, and knows every argument.
        self._model: Any = model.model.get_base_model() if hasattr(model.model, "get_base_model") else model.model
        self._context = _context_length(config, self._model)
        self._most = config.max_sessions
        if self._most < 1:
            raise ConfigError(
                f"`engine.max_sessions` is {self._most}.", "At least one conversation must fit.", "Set it to 1 or more."
            )
        self._cache = SlotCache()
        self._table: SlotTable | None = SlotTable(self._cache, self._most) if config.kv_reuse else None
        self._by_rows = False
        if config.kv_reuse:
            with _Evaluating(self._model):
                self._by_rows = require_reuse(self._model, self._context)

    @property
    def context_length(self) -> int:
        """Most tokens of a row, prompt and response together."""
        return self._context

    @property
    def sessions(self) -> int:
        """Conversations whose KV cache is kept now."""
        return 0 if self._table is None else len(self._table)

    @torch.no_grad()
    def generate(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> list[Generation]:
        """Samples one response for each request; results are in the order of the requests.

        Raises:
            ConfigError: a prompt is empty, a sampling option is out of range or an allowed response does not end.
            TrainingError: the model's log-probabilities are not finite.
        """
        _check(requests, sampling)
        results: list[Generation | None] = [None] * len(requests)
        fitting: list[int] = []
        for index, request in enumerate(requests):
            if len(request.prompt) + 1 > self._context:
                results[index] = Generation([], [], "context")
            else:
                fitting.append(index)
        with _Evaluating(self._model):
            for batch in self._batches(fitting, requests):
                chosen = [requests[index] for index in batch]
                run = self._plain if self._table is None else self._reusing
                for index, generation in zip(batch, run(chosen, sampling), strict=True):
                    results[index] = generation
        return [generation for generation in results if generation is not None]

    def release(self, sessions: Iterable[str]) -> None:
        """Forgets conversations."""
        if self._table is not None:
            self._table.release(sessions)

    def sync(self, policy_version: int) -> None:
        """Drops all caches: they were computed with older weights. The weights themselves are shared, not loaded."""
        if self._table is not None:
            self._table.clear()
            self._cache.clear()

    def _batches(self, indices: Sequence[int], requests: Sequence[GenerationRequest]) -> Iterator[list[int]]:
        """At most `max_sessions` different conversations a batch; without reuse, all prompts of one length."""
        waiting = list(indices)
        while waiting:
            batch: list[int] = []
            later: list[int] = []
            seen: set[str] = set()
            length = len(requests[waiting[0]].prompt)
            for index in waiting:
                request = requests[index]
                fits = len(batch) < self._most and request.session not in seen
                if fits and (self._table is not None or len(request.prompt) == length):
                    batch.append(index)
                    seen.add(request.session)
                else:
                    later.append(index)
            yield batch
            waiting = later

    def _room(self, request: GenerationRequest, sampling: Sampling) -> int:
        return min(sampling.max_new_tokens, self._context - len(request.prompt))

    def _plain(self, requests: list[GenerationRequest], sampling: Sampling) -> list[Generation]:
        prompts = np.asarray([request.prompt for request in requests], dtype=np.int64)
        room = [self._room(request, sampling) for request in requests]
        return decode(PlainStepper(self._model, prompts), requests, sampling, room)

    def _reusing(self, requests: list[GenerationRequest], sampling: Sampling) -> list[Generation]:
        table = self._table
        assert table is not None
        room = [self._room(request, sampling) for request in requests]
        longest = max(len(request.prompt) + extra for request, extra in zip(requests, room, strict=True))
        slots = table.place([request.session for request in requests], longest)
        order = np.argsort(slots).tolist()  # row i of the batch is slot i
        rows = [requests[index] for index in order]
        prompts = [np.asarray(request.prompt, dtype=np.int64) for request in rows]
        stored = [table.shared(slot, prompt) for slot, prompt in enumerate(prompts)]
        # Until the batch is through, the slots hold a mixture: if it fails half-way, nothing stale may be found.
        for request in rows:
            table.store(request.session, np.zeros(0, dtype=np.int64))
        stepper = ReuseStepper(self._model, self._cache, table, prompts, stored, self._by_rows)
        generations = decode(stepper, rows, sampling, [room[index] for index in order])
        results: list[Generation] = [generations[0]] * len(rows)
        for index, request, prompt, generation in zip(order, rows, prompts, generations, strict=True):
            results[index] = generation
            # The last sampled token was never fed, so its keys and values are not there.
            fed = np.asarray(generation.token_ids[:-1], dtype=np.int64)
            table.store(request.session, np.concatenate([prompt, fed]))
        return results


class _Evaluating:
    """Puts a model into eval mode (no dropout, no checkpointing) and back as it was."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._training = bool(model.training)

    def __enter__(self) -> None:
        if self._training:
            self._model.eval()

    def __exit__(self, *_: object) -> None:
        if self._training:
            self._model.train()


def _context_length(config: HfConfig, model: Any) -> int:
    declared = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if config.max_context is not None:
        if config.max_context < 2 or (declared is not None and config.max_context > declared):
            raise ConfigError(
                f"`engine.max_context` is {config.max_context}.",
                f"The model was made for up to {declared} tokens." if declared else "A row has at least two tokens.",
                "Choose a length the model supports, or leave the option out.",
            )
        return config.max_context
    if declared is None:
        raise ConfigError(
            "The model's config does not say how long its context is.",
            "It has no `max_position_embeddings`.",
            "Set `engine.max_context`.",
        )
    return int(declared)


def _check(requests: Sequence[GenerationRequest], sampling: Sampling) -> None:
    if sampling.max_new_tokens < 1 or sampling.temperature < 0 or not 0 < sampling.top_p <= 1:
        raise ConfigError(
            f"Cannot sample with {sampling}.",
            "max_new_tokens must be at least 1, temperature at least 0, top_p in (0, 1].",
            "Correct the `rollout` section.",
        )
    for request in requests:
        if not len(request.prompt):
            raise ConfigError(
                f"The prompt of session {request.session!r} is empty.",
                "A response needs at least one token to condition on.",
                "Check the context policy and the chat template.",
            )
