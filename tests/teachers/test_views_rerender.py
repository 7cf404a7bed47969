"""Rows with privileged words in them: the student's without any, and the same responses with them."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
from played_corridors import APPEND, CONTEXTS, RENDERER, corridors, text

from agentdistill.conversation.base import Message
from agentdistill.errors import TrainingError
from agentdistill.records import LossRole
from agentdistill.teachers.rerender import rerender
from agentdistill.teachers.views import Privileged, with_privileged
from agentdistill_contexts.append import AppendConfig, AppendContext

CASES = {
    "plain": {},
    "cut responses": {"finish": "length"},
    "guided": {"guide": 0.5},
    "imitated": {"guide": 0.5, "guide_role": LossRole.IMITATE},
    "replayed": {"prefix": ("ahead",)},
    "one turn": {"horizon": 1},
}
HINT = Privileged(opening="The door is at the end.", turns={1: "Walk.", 2: "Walk on."})


def shown(trajectory, privileged, context=APPEND, **more):
    return rerender(trajectory, privileged, renderer=RENDERER, context=context, **more)


every = pytest.mark.parametrize("case", CASES, ids=lambda name: name.replace(" ", "-"))


@every
@pytest.mark.parametrize("name", CONTEXTS)
def test_without_words_the_rows_are_the_students(case, name):
    for trajectory in corridors(context=CONTEXTS[name], **CASES[case]):
        same = shown(trajectory, Privileged(), CONTEXTS[name])
        assert same.added == 0
        for span in same.spans:
            row, theirs = trajectory.rows[span.row], same.trajectory.rows[span.shown_row]
            assert np.array_equal(row.token_ids[: span.end], theirs.token_ids[: span.end])
            assert span.start == span.shown_start
            assert np.array_equal(row.mask[: span.end], theirs.mask[: span.end])
            assert np.array_equal(row.old_logprob[: span.end], theirs.old_logprob[: span.end], equal_nan=True)


@every
@pytest.mark.parametrize("name", CONTEXTS)
@pytest.mark.parametrize("remembered", [True, False])
def test_responses_keep_their_tokens_and_prompts_say_more(case, name, remembered):
    privileged = dataclasses.replace(HINT, remembered=remembered)
    for trajectory in corridors(context=CONTEXTS[name], **CASES[case]):
        before = copy.deepcopy(trajectory)
        hinted = shown(trajectory, privileged, CONTEXTS[name])
        assert [span.step for span in hinted.spans] == [s.index for s in trajectory.steps if s.row >= 0]
        steps = {step.index: step for step in hinted.trajectory.steps}
        for span in hinted.spans:
            row, theirs = trajectory.rows[span.row], hinted.trajectory.rows[span.shown_row]
            length = span.end - span.start
            mine = row.token_ids[span.start : span.end]
            assert np.array_equal(mine, theirs.token_ids[span.shown_start : span.shown_start + length])
            assert (theirs.step_of_token[span.shown_start : span.shown_start + length] == span.step).all()
            moved = steps[span.step]
            assert (moved.row, moved.start, moved.end) == (span.shown_row, span.shown_start, span.shown_start + length)
            prompt = text(theirs.token_ids[: span.shown_start])
            assert prompt.count("The door is at the end.") == 1
            assert prompt.endswith("<|im_start|>assistant\n")
            own = privileged.turns.get(span.step)
            if own:
                assert prompt.rpartition("<|im_start|>user\n")[2].count(own) == 1
            if not remembered or name == "window":
                said = [words for step, words in privileged.turns.items() if step != span.step]
                assert not any(words in prompt.replace(own or "Walk on.", "") for words in said)
        assert str(before) == str(trajectory), "the episode was changed"


def test_a_growing_conversation_stays_one_row_when_hints_are_remembered():
    (trajectory,) = corridors(keys=("2",))
    one = shown(trajectory, HINT)
    many = shown(trajectory, dataclasses.replace(HINT, remembered=False))
    assert len(one.trajectory.rows) == 1
    assert len(many.trajectory.rows) == 3  # 0 and 1; 2; 3 and on, where nobody is told anything
    whole = text(one.trajectory.rows[0].token_ids)
    assert whole.index("Walk.") < whole.index("Walk on.")
    assert one.added == len(RENDERER.tokenizer.encode("\n\nThe door is at the end.\n\nWalk.\n\nWalk on."))


def test_only_turns_that_are_scored_have_spans_and_rows():
    (trajectory,) = corridors(keys=("2",))
    some = Privileged(turns={1: "Walk."}, scored=frozenset({1}), remembered=False)
    hinted = shown(trajectory, some)
    assert [span.step for span in hinted.spans] == [1] and len(hinted.trajectory.rows) == 1
    assert [step.row for step in hinted.trajectory.steps] == [0, 0, *[-1] * (len(trajectory.steps) - 2)]


def test_words_stand_before_or_after():
    messages = [Message("system", "s"), Message("user", "u"), Message("assistant", "a", 0), Message("user", "v")]
    privileged = Privileged("all", {0: "zero", 1: "one"})
    after = with_privileged(messages, privileged, 1)
    assert [m.content for m in after] == ["s", "u\n\nall\n\nzero", "a", "v\n\none"]
    before = with_privileged(messages, privileged, 1, "before")
    assert [m.content for m in before] == ["s", "all\n\nzero\n\nu", "a", "one\n\nv"]
    forgotten = with_privileged(messages, dataclasses.replace(privileged, remembered=False), 1)
    assert [m.content for m in forgotten] == ["s", "u\n\nall", "a", "v\n\none"]
    assert with_privileged(messages, Privileged(), 1) == messages


def test_a_context_without_a_user_message_is_refused():
    with pytest.raises(TrainingError, match="no place for its words"):
        with_privileged([Message("system", "s")], Privileged("all"), 0)
    assert with_privileged([Message("system", "s")], Privileged(), 0)[0].content == "s"


def test_prompts_that_cannot_be_rendered_again_stop_the_run():
    (trajectory,) = corridors(keys=("0",))
    other = AppendContext(AppendConfig(system="Something else."))
    with pytest.raises(TrainingError, match="cannot be rendered again: row 0 differs from token"):
        shown(trajectory, Privileged(), other)
