"""Runs a transformers model on the slot cache: ragged prompts in groups of like length, then token by token."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from agentdistill_engines.prefill import MASK_ELEMENTS, PASS_TOKENS, prefill_rows
from agentdistill_engines.slots import SlotCache, SlotTable

PASS_COST = 64
"""What starting one more forward pass costs, in tokens of compute (0.7M-parameter model on one CPU core: about 70)."""


class ReuseStepper:
    """Feeds what each prompt adds to its conversation's cached keys and values.

    Row i of the batch is slot i. Inside one pass rows are padded on the left, so that the last column holds every
    row's last token and the model computes output logits for one column only; padding is never stored.

    Args:
        model: any `transformers` causal LM whose layers all attend to the full context.
        cache: the slot cache.
        table: its table, for moving slots.
        prompts: the full prompt of each row.
        stored: how many leading tokens of each are in the cache already; fewer than the prompt has.
        by_rows: feed prompts one behind the other instead of padded (see `prefill_rows`).
    """

    def __init__(
        self,
        model: Any,
        cache: SlotCache,
        table: SlotTable,
        prompts: Sequence[npt.NDArray[np.int64]],
        stored: Sequence[int],
        by_rows: bool = False,
    ) -> None:
        self._model, self._cache, self._table = model, cache, table
        self._prompts, self._stored = prompts, stored
        self._lengths = np.asarray([len(prompt) for prompt in prompts], dtype=np.int64)
        self._device = model.device
        self._dtype = model.dtype
        self._by_rows = by_rows

    def first(self) -> torch.Tensor:
        """Feeds the prompts; returns the logits [rows, V] of each row's first new token."""
        if self._by_rows:
            return prefill_rows(self._model, self._cache, self._prompts, self._stored)
        fresh = [len(prompt) - have for prompt, have in zip(self._prompts, self._stored, strict=True)]
        result: torch.Tensor | None = None
        for rows in groups(fresh):
            logits = self._prefill(rows)
            if result is None:
                if len(rows) == len(fresh) and rows == list(range(len(fresh))):
                    return logits
                result = logits.new_zeros(len(fresh), logits.shape[-1])
            result[torch.as_tensor(rows, device=self._device)] = logits
        assert result is not None
        return result

    def _prefill(self, rows: list[int]) -> torch.Tensor:
        """Feeds the new tokens of some rows; returns their logits [len(rows), V]."""
        low, high = min(rows), max(rows) + 1
        spanning = high - low <= 1.5 * len(rows)
        batch = list(range(low, high)) if spanning else rows
        inside = {row: i for i, row in enumerate(batch)}
        fresh = np.zeros(len(batch), dtype=np.int64)
        for row in rows:
            fresh[inside[row]] = len(self._prompts[row]) - self._stored[row]
        width = int(fresh.max())
        length = int(self._lengths[rows].max())
        piece = max(1, min(width, PASS_TOKENS // len(batch), MASK_ELEMENTS // (len(batch) * length)))

        # Column c of row i is its prompt's token ends[i] - width + c; the columns before its first new one are padding.
        tokens = np.zeros((len(batch), width), dtype=np.int64)
        ends = np.ones(len(batch), dtype=np.int64)
        for row in rows:
            i = inside[row]
            tokens[i, width - fresh[i] :] = self._prompts[row][self._stored[row] :]
            ends[i] = self._lengths[row]
        positions = ends[:, None] - width + np.arange(width)[None, :]
        real = np.arange(width)[None, :] >= (width - fresh)[:, None]
        positions = np.where(real, positions, 0)
        slots = np.asarray(batch, dtype=np.int64)
        where: slice | torch.Tensor = slice(low, high) if spanning else torch.as_tensor(slots, device=self._device)

        logits = torch.zeros(0)
        pieces = -(-width // piece)
        for start in range(width - piece * pieces, width, piece):  # the last piece is whole, the first may not be
            columns = slice(max(start, 0), start + piece)
            row_index, column_index = np.nonzero(real[:, columns])
            seen = int(positions[:, columns].max()) + 1
            self._aim(
                where, seen, tokens[:, columns].shape[1], slots[row_index],
                positions[:, columns][row_index, column_index], (row_index, column_index),
            )  # fmt: skip
            logits = self._forward(tokens[:, columns], positions[:, columns], seen)
        return logits if batch == rows else logits[torch.as_tensor([inside[row] for row in rows], device=self._device)]

    def step(self, tokens: torch.Tensor, active: npt.NDArray[np.bool_]) -> torch.Tensor:
        """Feeds one token a row, int64 [rows]; rows that are not active may be fed anything. Returns [rows, V]."""
        width = len(active)
        positions = self._lengths[:width].copy()
        rows = np.flatnonzero(active)
        seen = int(positions[rows].max()) + 1
        np.minimum(positions, seen - 1, out=positions)
        source = None if len(rows) == width else (rows, np.zeros_like(rows))
        self._aim(slice(0, width), seen, 1, rows, positions[rows], source)
        logits = self._forward(tokens[:, None], positions[:, None], seen)
        self._lengths[rows] += 1
        return logits

    def compact(self, active: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """Moves the last active rows into the places of finished ones; returns which old row each row was."""
        alive = int(active.sum())
        holes = np.flatnonzero(~active[:alive])
        tail = alive + np.flatnonzero(active[alive:])
        # Everything of both rows moves: the finished one's keys and values are needed again next turn.
        self._table.swap(holes, tail, int(self._lengths[: len(active)].max()))
        order = np.arange(alive)
        order[holes] = tail
        self._lengths[holes], self._lengths[tail] = self._lengths[tail], self._lengths[holes].copy()
        return order

    def _aim(
        self,
        where: slice | torch.Tensor,
        seen: int,
        query: int,
        slots: npt.NDArray[np.int64],
        positions: npt.NDArray[np.int64],
        source: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None,
    ) -> None:
        def there(values: npt.NDArray[np.int64]) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).to(self._device)

        taken = None if source is None else (there(source[0]), there(source[1]))
        self._cache.aim(where, seen, query, there(slots), there(positions), taken)

    def _forward(
        self, tokens: npt.NDArray[np.int64] | torch.Tensor, positions: npt.NDArray[np.int64], seen: int
    ) -> torch.Tensor:
        ids = tokens if isinstance(tokens, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(tokens))
        position_ids = torch.from_numpy(np.ascontiguousarray(positions)).to(self._device)
        hidden = torch.arange(seen, device=self._device) > position_ids[:, None, :, None]
        mask = torch.zeros(hidden.shape, dtype=self._dtype, device=self._device)
        mask.masked_fill_(hidden, torch.finfo(self._dtype).min)
        output = self._model(
            input_ids=ids.to(self._device),
            attention_mask=mask,
            position_ids=position_ids,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1]


def groups(fresh: Sequence[int]) -> list[list[int]]:
    """Splits rows into forward passes so that short prompts are not padded to the length of long ones.

    Minimises the computed tokens, padding included, plus `PASS_COST` per pass, over groups of neighbouring lengths.

    Args:
        fresh: new tokens of each row, at least 1.

    Returns:
        Row indices of each pass, ascending.
    """
    lengths = sorted(set(fresh))
    rows_of = {length: [row for row, value in enumerate(fresh) if value == length] for length in lengths}
    below = [0, *itertools.accumulate(len(rows_of[length]) for length in lengths)]
    best: list[tuple[int, int]] = [(0, 0)]
    for end in range(1, len(lengths) + 1):
        best.append(
            min(
                (best[start][0] + PASS_COST + lengths[end - 1] * (below[end] - below[start]), start)
                for start in range(end)
            )
        )
    result: list[list[int]] = []
    end = len(lengths)
    while end:
        start = best[end][1]
        result.append(sorted(row for length in lengths[start:end] for row in rows_of[length]))
        end = start
    return result
