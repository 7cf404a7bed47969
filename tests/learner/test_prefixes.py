"""What rows have in common at their beginnings is fed once, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from learner.test_rows_attention import MODELS, states_and_gradients

from agentdistill.learner.heads import split_model
from agentdistill.learner.micro import pad_rows
from agentdistill.learner.prefixes import families, share_prefixes

ROWS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=8), min_size=1, max_size=8)


@given(ROWS)
def test_every_beginning_is_fed_once(rows):
    shared = share_prefixes([torch.tensor(row) for row in rows])
    beginnings = {tuple(row[: end + 1]) for row in rows for end in range(len(row))}
    assert len(shared.tokens) == len(beginnings)
    for row, place in zip(rows, shared.places, strict=True):
        assert shared.tokens[place].tolist() == row
        assert shared.positions[place].tolist() == list(range(len(row)))
    assert sum(new for _, new in shared.own) == len(shared.tokens)


def history(turns: int, length: int = 4) -> list[torch.Tensor]:
    """Rows as `sopd` makes them: the history before each turn, and somebody else's turn."""
    generator = torch.Generator().manual_seed(5)
    played = torch.randint(0, 60, (turns * length,), generator=generator)
    return [torch.cat([played[: k * length], torch.tensor([k, 59, k])]) for k in range(1, turns + 1)]


@pytest.mark.parametrize("name", MODELS)
def test_states_and_gradients_are_those_of_rows_fed_whole(name):
    parts = split_model(MODELS[name]())
    rows = history(8)
    ids = pad_rows([*rows[::-1], rows[0], rows[3][:5]])  # in another order, one twice, one a part of others
    seen = []
    parts.decoder.register_forward_pre_hook(lambda _, a, k: seen.append(k["input_ids"].numel()), with_kwargs=True)
    states, gradients = states_and_gradients(parts, ids)
    whole, expected = states_and_gradients(replace(parts, packs=False), ids)
    assert seen == [8 * 4 + 8 * 3, ids.numel()]
    torch.testing.assert_close(states, whole, rtol=1e-5, atol=1e-5)
    for left, right in zip(gradients, expected, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-4 * float(right.abs().max()))


def test_only_what_is_worth_it_goes_together():
    rows, other = history(8), history(3, length=1)
    fed = 8 * 4 + 8 * 3
    [(group, tokens)] = families([*rows, *other], budget=100)
    assert set(group) <= set(range(8)) and len(group) >= 6 and tokens <= fed
    assert families(other, budget=100) == []


@given(ROWS, st.integers(1, 30))
def test_families_keep_to_the_budget_and_say_what_they_feed(rows, budget):
    rows = [torch.tensor(row) for row in rows]
    found = families(rows, budget)
    members = [index for group, _ in found for index in group]
    assert len(set(members)) == len(members)
    for group, fed in found:
        shared = share_prefixes([rows[i] for i in group])
        assert len(shared.tokens) == fed <= budget and shared.worth_it
