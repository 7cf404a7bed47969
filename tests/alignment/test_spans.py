"""Spans: both sequences whole, the same bytes on both sides, nothing coarser than need be."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_tokenizers import byte_level, sentence_piece, word_level, word_piece

from agentdistill.alignment.pieces import TokenPieces
from agentdistill.alignment.sharing import places_in_spans, share_out, span_sums
from agentdistill.alignment.spans import align

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
WORDS = st.lists(st.sampled_from(["go to desk 1", " ", "open", "日本語", "🙂", "é", "\n", "mug", "x"]), max_size=6).map(
    "".join
)


def cut(data: st.DataObject, text: bytes) -> list[bytes]:
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return [text[a:b] for a, b in itertools.pairwise([0, *places, len(text)])]


def check(spans, first, second) -> None:
    """What must hold of any alignment."""
    for edges, pieces in ((spans.first, first), (spans.second, second)):
        assert edges[0] == 0 and edges[-1] == len(pieces) and (np.diff(edges) >= 0).all()
        assert len(edges) == len(spans) + 1
    for s in range(len(spans)):
        a, b = first[spans.first[s] : spans.first[s + 1]], second[spans.second[s] : spans.second[s + 1]]
        assert a or b
        if spans.equal[s]:
            assert a and b and b"".join(a) == b"".join(b)
    if first and second and b"".join(first) == b"".join(second) and b"".join(first):
        assert spans.equal.all()


@settings(max_examples=400, deadline=None)
@given(data=st.data(), text=st.binary(max_size=16))
def test_any_two_cuts_of_one_text(data, text):
    first, second = cut(data, text), cut(data, text)
    spans = align(first, second)
    check(spans, first, second)
    if not text:
        return
    # As fine as can be: every place where both are cut ends a span.
    ends = [set(itertools.accumulate(len(p) for p in pieces)) - {0, len(text)} for pieces in (first, second)]
    assert len(spans) == len(ends[0] & ends[1]) + 1


@settings(max_examples=400, deadline=None)
@given(data=st.data(), a=st.binary(max_size=12), b=st.binary(max_size=12), head=st.binary(max_size=6))
def test_texts_that_differ_are_aligned_at_both_ends(data, a, b, head):
    first, second = cut(data, head + a), cut(data, head + b)
    spans = align(first, second)
    check(spans, first, second)
    assert (~spans.equal).sum() <= 2


@pytest.mark.parametrize(
    ("student", "teacher"),
    [
        (word_level, byte_level),
        (byte_level, word_level),
        (sentence_piece, byte_level),
        (word_level, sentence_piece),
        (lambda: byte_level(300), byte_level),
    ],
)
@settings(max_examples=100, deadline=None)
@given(text=st.one_of(TEXT, WORDS))
def test_real_tokenizers_on_any_text(student, teacher, text):
    sides = []
    for tokenizer in (student(), teacher()):
        sides.append(TokenPieces(tokenizer).of(tokenizer.encode(text, add_special_tokens=False)))
    spans = align(*sides)
    check(spans, *sides)


def test_a_sentence_by_hand():
    first = [b"go", b" to", b" desk", b" ", b"1"]
    second = [b"g", b"o", b" to d", b"esk 1"]
    spans = align(first, second)
    assert spans.first.tolist() == [0, 1, 5] and spans.second.tolist() == [0, 2, 4] and spans.equal.all()


def test_what_one_side_trims_is_one_span_of_its_own():
    spans = align([b" ", b"go", b" on", b"\n"], [b"go", b" on"])
    assert spans.first.tolist() == [0, 1, 2, 3, 4] and spans.second.tolist() == [0, 0, 1, 2, 2]
    assert spans.equal.tolist() == [False, True, True, False]
    joined = align([b" go", b" on"], [b"go", b" on"])
    assert joined.first.tolist() == [0, 1, 2] and joined.equal.tolist() == [False, True]


def test_a_changed_word_leaves_the_others_alone():
    first = [b"take", b" the", b" mug", b" now"]
    second = [b"take", b" the", b" cup", b" n", b"ow"]
    spans = align(first, second)
    assert spans.equal.tolist() == [True, True, False, True]


def test_tokens_without_bytes_go_with_what_follows():
    spans = align([b"", b"a", b"", b"b", b""], [b"a", b"b"])
    assert spans.first.tolist() == [0, 2, 5] and spans.second.tolist() == [0, 1, 2]
    assert spans.equal.all()


def test_nothing_and_something():
    assert len(align([], [])) == 0
    spans = align([b"a"], [])
    assert spans.first.tolist() == [0, 1] and spans.second.tolist() == [0, 0] and not spans.equal.any()


def test_identical_sequences_align_token_by_token():
    for tokenizer in (byte_level(), word_level(), word_piece()):
        pieces = TokenPieces(tokenizer).of(tokenizer.encode("go to desk 1, open drawer 2", add_special_tokens=False))
        spans = align(pieces, pieces)
        assert spans.first.tolist() == list(range(len(pieces) + 1)) and spans.equal.all()


@settings(max_examples=200, deadline=None)
@given(data=st.data(), text=st.binary(min_size=1, max_size=16), seed=st.integers(0, 999))
def test_shares_add_up_to_the_span(data, text, seed):
    spans = align(cut(data, text), cut(data, text))
    rng = np.random.default_rng(seed)
    teacher = -rng.exponential(3.0, int(spans.second[-1])).astype(np.float32)
    own = rng.exponential(2.0, int(spans.first[-1])) * (rng.random(int(spans.first[-1])) < 0.7)
    totals = span_sums(teacher, spans.second)
    shares = share_out(spans, totals, own)
    assert (shares <= 0).all()
    for s, total in enumerate(totals):
        part = shares[spans.first[s] : spans.first[s + 1]].astype(np.float64)
        assert part.sum() == pytest.approx(total, rel=1e-6, abs=1e-12)
    assert len(places_in_spans(spans)) == len(shares)
    assert (places_in_spans(spans)[spans.first[:-1][np.diff(spans.first) > 0]] == 0).all()


def test_shares_follow_the_weights_and_missing_stays_missing():
    spans = align([b"a", b"b", b"c"], [b"ab", b"c"])
    shares = share_out(spans, span_sums(np.array([-4.0, np.nan]), spans.second), np.array([1.0, 3.0, 1.0]))
    assert shares[:2].tolist() == [-1.0, -3.0] and np.isnan(shares[2])
    even = share_out(spans, np.array([-4.0, -1.0]), np.zeros(3))
    assert even.tolist() == [-2.0, -2.0, -1.0]
