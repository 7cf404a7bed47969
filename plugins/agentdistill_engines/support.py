"""Finds out, before a run starts, whether a model gives right answers on the slot cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from agentdistill.errors import ConfigError
from agentdistill.learner.rows_attention import takes_rows
from agentdistill_engines.plain import accepted
from agentdistill_engines.reuse import ReuseStepper
from agentdistill_engines.slots import SlotCache, SlotTable

TURN_OFF = "Set `engine.kv_reuse = false`: every turn is then prefilled anew; slower, but it works for every model."


def require_reuse(model: Any, context_length: int) -> bool:
    """Stops unless the model can keep ragged conversations in a slot cache.

    First by what its config says, then by trying: two conversations of different lengths over two turns must give
    the logits of plain forward passes.

    Args:
        model: the model, in eval mode.
        context_length: most tokens of a row.

    Returns:
        Whether prompts can be fed one behind the other instead of padded.

    Raises:
        ConfigError: it cannot; the message says why and which setting avoids the cache.
    """
    config = model.config.get_text_config()
    name = type(model).__name__
    implementation = getattr(config, "_attn_implementation", None) or "eager"
    if implementation not in ("sdpa", "eager"):
        raise ConfigError(
            f"The KV cache cannot be kept across turns with the attention implementation {implementation!r} of {name}.",
            "Ragged rows need an explicit attention mask, which it does not take.",
            f"Load the model with `sdpa` or `eager` attention. Or: {TURN_OFF}",
        )
    partial = _partial_attention(config, context_length)
    if partial:
        raise ConfigError(
            f"The KV cache of {name} cannot be kept across turns: it has {partial}.",
            "Only layers that attend to the full context can forget the end of a conversation and go on from there.",
            TURN_OFF,
        )
    if not {"position_ids", "past_key_values", "logits_to_keep"} <= accepted(model):
        raise ConfigError(
            f"The KV cache of {name} cannot be kept across turns.",
            "Its forward pass does not take position ids, a cache object and `logits_to_keep`.",
            TURN_OFF,
        )
    difference, allowed = (
        _largest_difference(model, by_rows=False),
        1e-3 if model.dtype in (torch.float32, torch.float64) else 0.25,
    )
    if not difference <= allowed:
        raise ConfigError(
            f"The KV cache of {name} cannot be kept across turns: in a trial its log-probabilities differed by "
            f"{difference:.3g} from plain forward passes.",
            "It does not take attention masks and position ids per row as other models do.",
            TURN_OFF,
        )
    return takes_rows(model) and _largest_difference(model, by_rows=True) <= allowed


def _partial_attention(config: Any, context_length: int) -> str:
    """What in a model's layers does not attend to the full context; "" when all do."""
    layer_types = getattr(config, "layer_types", None)
    others = sorted({*(layer_types or ())} - {"full_attention", "sliding_attention"})
    if others:
        return f"layers of type {', '.join(others)}"
    window = getattr(config, "sliding_window", None)
    # Some configs carry a window that no layer uses; those without layer types use it in every layer.
    used = "sliding_attention" in layer_types if layer_types else getattr(config, "use_sliding_window", True)
    if used and layer_types and window is None:
        return "sliding windows of unknown length"
    if used and window is not None and window < context_length:
        return f"sliding windows of {window} tokens, less than its context of {context_length}"
    return ""


@torch.no_grad()
def _largest_difference(model: Any, by_rows: bool) -> float:
    """Largest difference of a log-probability between the slot cache and plain forward passes."""
    vocabulary = int(model.config.get_text_config().vocab_size)
    ids = np.random.Generator(np.random.PCG64(0)).integers(0, vocabulary, size=(2, 12))
    cache = SlotCache()
    table = SlotTable(cache, 2)
    table.place(["a", "b"], 12)
    worst = 0.0
    for ends, stored in (((5, 3), (0, 0)), ((7, 12), (5, 3))):
        prompts = [ids[0, : ends[0]], ids[1, : ends[1]]]
        logits = ReuseStepper(model, cache, table, prompts, stored, by_rows).first()
        for row, prompt in enumerate(prompts):
            plain = model(input_ids=torch.from_numpy(prompt)[None].to(model.device), use_cache=False).logits[0, -1]
            gap = plain.float().log_softmax(-1) - logits[row].float().log_softmax(-1)
            worst = max(worst, float(gap.abs().max()))
    return worst
