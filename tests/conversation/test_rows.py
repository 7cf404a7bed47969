"""Property tests: whatever a context policy does, every token is attributed to whoever wrote it, once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import VOCAB, tiny_tokenizer

from agentdistill.conversation.base import Message
from agentdistill.conversation.rows import RowBuilder
from agentdistill.conversation.template import ChatRenderer
from agentdistill.records import CONTEXT

RENDERER = ChatRenderer(tiny_tokenizer())

responses = st.lists(st.integers(3, VOCAB - 1), min_size=0, max_size=6)
texts = st.text(st.characters(codec="utf-8", exclude_characters="<|>"), max_size=12)


@st.composite
def episodes(draw):
    """Turns of (observation, sampled tokens, stopped by the terminator, rewrite history before the next turn)."""
    turn = st.tuples(
        texts, responses, st.booleans(), st.sampled_from(["grow", "grow", "grow", "fresh", "edit", "drop"])
    )
    return draw(st.lists(turn, min_size=1, max_size=7))


def play(episode):
    builder, history, record = RowBuilder(RENDERER), [], []
    for step, (observation, sampled, stopped, then) in enumerate(episode):
        history.append(Message("user", observation))
        prompt = list(builder.turn(history))
        ids = [*sampled, RENDERER.terminator] if stopped or not sampled else sampled
        logprobs = [-0.5 - step - i / 100 for i in range(len(ids))]
        place = builder.sampled(step, ids, logprobs)
        record.append((prompt, ids, logprobs, place, list(history)))
        history = [*history, Message("assistant", "text that is never tokenised", step)]
        if then == "fresh":
            history = []
        elif then == "edit":
            history[0] = Message("user", history[0].content + " (edited)")
        elif then == "drop":
            history = history[2:]
    return builder.rows(), record


@settings(deadline=None)
@given(episodes())
def test_every_sampled_token_is_trained_exactly_once_where_it_was_sampled(episode):
    rows, record = play(episode)
    for step, (prompt, ids, logprobs, (row, start, end), _) in enumerate(record):
        tokens = rows[row].token_ids
        assert tokens[start:end].tolist() == ids
        assert tokens[:start].tolist() == prompt, "the prompt the engine saw is what the row says it saw"
        assert (rows[row].step_of_token[start:end] == step).all()
        assert rows[row].mask[start:end].all()
        assert np.allclose(rows[row].old_logprob[start:end], logprobs)
    assert sum(int(row.mask.sum()) for row in rows) == sum(len(ids) for _, ids, _, _, _ in record)
    for row in rows:
        assert (row.mask == (row.step_of_token != CONTEXT)).all()
        assert (np.isnan(row.old_logprob) == ~row.mask).all()
        assert row.mask[-1], "a row ends with a response"


@settings(deadline=None)
@given(episodes())
def test_a_row_is_what_rendering_its_last_conversation_at_once_gives(episode):
    rows, record = play(episode)
    responses = {step: RENDERER.closed(ids) for step, (_, ids, _, _, _) in enumerate(record)}
    for _, ids, _, (row, start, _), messages in record:
        assert rows[row].token_ids[:start].tolist() == RENDERER.prompt(messages, responses)
        assert rows[row].token_ids[start : start + len(ids)].tolist() == ids


@settings(deadline=None)
@given(episodes())
def test_rows_fork_only_when_history_is_rewritten(episode):
    _, record = play(episode)
    row = 0
    for step, (_, _, _, place, _) in enumerate(record):
        if step and episode[step - 1][3] != "grow":
            row += 1
        assert place[0] == row


def test_a_terminator_forced_after_a_length_stop_is_context():
    builder = RowBuilder(RENDERER)
    first = [Message("user", "a")]
    builder.turn(first)
    _, _, end = builder.sampled(0, [10, 11], [-1.0, -2.0])
    builder.turn([*first, Message("assistant", "?", 0), Message("user", "b")])
    builder.sampled(1, [12, 2], [-1.0, -2.0])
    (row,) = builder.rows()
    assert row.token_ids[end] == RENDERER.terminator
    assert row.step_of_token[end] == CONTEXT and not row.mask[end] and np.isnan(row.old_logprob[end])


def test_a_turn_without_a_response_can_be_taken_back():
    builder = RowBuilder(RENDERER)
    first = [Message("user", "a")]
    builder.turn(first)
    builder.abandon()
    assert builder.rows() == []
    builder.turn(first)
    _, _, end = builder.sampled(0, [10], [-1.0])
    builder.abandon()
    assert len(builder.rows()[0]) == end, "nothing is taken back when the turn was answered"
    builder.turn([*first, Message("assistant", "?", 0), Message("user", "b")])
    builder.abandon()
    assert len(builder.rows()[0]) == end


def test_demonstrations_are_attributed_but_never_called_sampled():
    builder = RowBuilder(RENDERER)
    first = [Message("user", "a")]
    builder.turn(first)
    _, start, end = builder.written(0, RENDERER.response("go"), learn=True)
    builder.turn([*first, Message("assistant", "go", 0), Message("user", "b")])
    _, start2, end2 = builder.written(1, RENDERER.response("no"), learn=False)
    (row,) = builder.rows()
    assert (row.step_of_token[start:end] == 0).all() and (row.step_of_token[start2:end2] == CONTEXT).all()
    assert not row.mask.any() and np.isnan(row.old_logprob).all()


def test_misuse_is_an_error():
    builder = RowBuilder(RENDERER)
    with pytest.raises(ValueError, match="turn"):
        builder.sampled(0, [1], [-1.0])
    builder.turn([Message("user", "a")])
    with pytest.raises(ValueError, match="log-probabilities"):
        builder.sampled(0, [1, 2], [-1.0])
    builder.sampled(0, [1], [-1.0])
    with pytest.raises(ValueError, match="turn"):
        builder.sampled(1, [1], [-1.0])
