"""The way that works for every causal LM: prefill whole prompts with the model's own cache, equal lengths together."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import numpy.typing as npt
import torch


def accepted(model: Any) -> frozenset[str]:
    """Names of the arguments a model's forward pass takes; those of the model inside, when adapters wrap it."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return frozenset(inspect.signature(inner.forward).parameters)


class PlainStepper:
    """Feeds whole prompts of one length, then token by token with whatever cache the model itself makes.

    No row is ever padded, so sliding windows, recurrent states and convolutions see exactly what they would see
    alone. A model that returns no cache is fed the whole rows again for each token.

    Args:
        model: any `transformers` causal LM.
        prompts: int64 [rows, length].
    """

    def __init__(self, model: Any, prompts: npt.NDArray[np.int64]) -> None:
        self._model = model
        self._tokens = torch.from_numpy(prompts).to(model.device)
        self._memory: dict[str, Any] = {}
        self._last = {"logits_to_keep": 1} if "logits_to_keep" in accepted(model) else {}

    def first(self) -> torch.Tensor:
        """Feeds the prompts; returns the logits [rows, V] of each row's first new token."""
        return self._forward(self._tokens)

    def step(self, tokens: torch.Tensor, active: npt.NDArray[np.bool_]) -> torch.Tensor:
        """Feeds one token a row, int64 [rows]; rows that are not active may be fed anything. Returns [rows, V]."""
        self._tokens = torch.cat([self._tokens, tokens[:, None]], dim=1)
        return self._forward(tokens[:, None] if self._memory else self._tokens)

    def compact(self, active: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """Drops the rows that are not active; returns which old row each remaining row was."""
        kept = np.flatnonzero(active)
        index = torch.from_numpy(kept).to(self._tokens.device)
        self._tokens = self._tokens[index]
        for cache in self._memory.values():
            cache.reorder_cache(index)
        return kept

    def _forward(self, tokens: torch.Tensor) -> torch.Tensor:
        output = self._model(input_ids=tokens, use_cache=True, **self._memory, **self._last)
        self._memory = {
            name: output[name]
            for name in ("past_key_values", "cache_params")
            if output.get(name) is not None and hasattr(output[name], "reorder_cache")
        }
        return output.logits[:, -1]
