"""Prompts without padding: which tokens are fed when, and that the logits are those of padded passes."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import VOCAB, tiny_model

from agentdistill_engines import prefill
from agentdistill_engines.reuse import ReuseStepper
from agentdistill_engines.slots import SlotCache, SlotTable


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(1, 40), st.integers(0, 200)), min_size=1, max_size=8),
    tokens=st.integers(1, 64),
    elements=st.integers(1, 3000),
)
def test_every_new_token_is_fed_once_in_order_and_within_the_limits(rows, tokens, elements):
    lengths, stored = [fresh + have for fresh, have in rows], [have for _, have in rows]
    with patch.object(prefill, "PASS_TOKENS", tokens), patch.object(prefill, "MASK_ELEMENTS", elements):
        passes = list(prefill.passes(lengths, stored))
    fed = [(row, token) for pieces in passes for row, start, end in pieces for token in range(start, end)]
    assert fed == [
        (row, t) for row, (end, start) in enumerate(zip(lengths, stored, strict=True)) for t in range(start, end)
    ]
    for pieces in passes:
        assert pieces and all(start < end for _, start, end in pieces)
        assert sum(end - start for _, start, end in pieces) <= tokens
        masks = sum((end - start) * lengths[row] for row, start, end in pieces)
        assert masks <= elements or [end - start for _, start, end in pieces] == [1]


@torch.no_grad()
def test_logits_are_those_of_padded_passes_over_several_turns():
    model, random = tiny_model(5), np.random.Generator(np.random.PCG64(0))
    texts = [random.integers(0, VOCAB, 90) for _ in range(6)]
    turns = [(5, 31, 17, 17, 60, 2), (6, 40, 18, 29, 61, 50), (90, 44, 19, 30, 88, 51)]
    results = []
    for by_rows in (True, False):
        cache = SlotCache()
        table = SlotTable(cache, 6)
        table.place([str(i) for i in range(6)], 90)
        stored, logits = (0,) * 6, []
        for ends in turns:
            prompts = [text[:end] for text, end in zip(texts, ends, strict=True)]
            logits.append(ReuseStepper(model, cache, table, prompts, stored, by_rows).first())
            stored = ends
        results.append(torch.stack(logits))
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-4)


def test_pairs_of_slots_change_places():
    cache = SlotCache()
    cache.reserve(4, 8)
    cache.aim_rows(torch.arange(4).repeat_interleave(8), torch.arange(8).repeat(4))
    values = torch.randn(1, 2, 32, 3, generator=torch.Generator().manual_seed(0))
    keys = cache.update(values, values + 1, 0)[0].clone()
    cache.swap(np.asarray([0, 3]), np.asarray([2, 1]), 5)
    moved, _ = cache._store[0]
    assert torch.equal(moved[:, :, :5], keys[[2, 3, 0, 1], :, :5])
    assert torch.equal(moved[:, :, 5:], keys[:, :, 5:])
