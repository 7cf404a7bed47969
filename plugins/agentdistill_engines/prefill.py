"""Prompts of different lengths in one forward pass without padding: their new tokens one behind the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import scaled_dot_product_attention

from agentdistill.learner.rows_attention import Attend, attending
from agentdistill_engines.slots import SlotCache

PASS_TOKENS = 16384
"""Most tokens of one forward pass."""
MASK_ELEMENTS = 2**25
"""Most elements of the attention masks of one forward pass; long prompts are fed in pieces that keep under it."""

Piece = tuple[int, int, int]
"""A row, and which tokens of its prompt: the first, and the one after the last."""


def prefill_rows(
    model: Any, cache: SlotCache, prompts: Sequence[npt.NDArray[np.int64]], stored: Sequence[int]
) -> torch.Tensor:
    """Feeds what each prompt adds to what is cached of it.

    Each row attends to its own slot only, in place and over its own length: nothing is masked but the future, and
    keys and values shared by several heads are not copied for each of them.

    Args:
        model: a model for which `takes_rows` holds.
        cache: the slot cache; row i is slot i.
        prompts: the full prompt of each row.
        stored: how many leading tokens of each are in the cache; fewer than the prompt has.

    Returns:
        The logits [rows, V] of each row's first new token.
    """
    logits: dict[int, torch.Tensor] = {}
    for pieces in passes([len(prompt) for prompt in prompts], stored):
        sizes = [end - start for _, start, end in pieces]
        tokens = np.concatenate([prompts[row][start:end] for row, start, end in pieces])
        positions = torch.from_numpy(np.concatenate([np.arange(start, end) for _, start, end in pieces]))
        cache.aim_rows(torch.from_numpy(np.repeat([row for row, _, _ in pieces], sizes)), positions)
        with attending(model, _attend(pieces, model.dtype)):
            output = model(
                input_ids=torch.from_numpy(tokens)[None],
                position_ids=positions[None],
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=torch.from_numpy(np.cumsum(sizes) - 1),
            )
        for (row, _, _), last in zip(pieces, output.logits[0], strict=True):
            logits[row] = last  # a later piece of the same row takes its place
    return torch.stack([logits[row] for row in range(len(prompts))])


def passes(lengths: Sequence[int], stored: Sequence[int]) -> Iterator[list[Piece]]:
    """Cuts the new tokens of all rows into forward passes within `PASS_TOKENS` and `MASK_ELEMENTS`, rows in order.

    Args:
        lengths: tokens of each prompt.
        stored: how many of them need not be fed, fewer than all.

    Yields:
        The pieces of each pass; at least one token.
    """
    pieces: list[Piece] = []
    tokens, elements = PASS_TOKENS, MASK_ELEMENTS
    for row, (end, start) in enumerate(zip(lengths, stored, strict=True)):
        while start < end:
            size = min(end - start, tokens, elements // end)
            if size < 1 and pieces:
                yield pieces
                pieces, tokens, elements = [], PASS_TOKENS, MASK_ELEMENTS
                continue
            size = max(size, 1)
            pieces.append((row, start, start + size))
            tokens, elements, start = tokens - size, elements - size * end, start + size
    yield pieces


def _attend(pieces: Sequence[Piece], dtype: torch.dtype) -> Attend:
    """Attention of each piece to everything of its row up to itself."""
    sizes = [end - start for _, start, end in pieces]
    masks: dict[Piece, torch.Tensor] = {}
    for _, start, end in pieces:
        shape = (0, start, end)
        if start and end - start > 1 and shape not in masks:
            masks[shape] = torch.full((end - start, end), torch.finfo(dtype).min, dtype=dtype).triu_(start + 1)

    def attend(
        query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float | None, dropout: float
    ) -> torch.Tensor:
        shared = query.shape[1] != key.shape[1]
        parts = [
            scaled_dot_product_attention(
                part,
                key[row : row + 1, :, :end],
                value[row : row + 1, :, :end],
                attn_mask=masks.get((0, start, end)),
                dropout_p=dropout,
                is_causal=not start,
                scale=scale,
                enable_gqa=shared,
            )
            for part, (row, start, end) in zip(query.split(sizes, dim=2), pieces, strict=True)
        ]
        return torch.cat(parts, dim=2)

    return attend
