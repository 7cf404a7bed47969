"""The selections on made-up scores: the classes partition, order does not matter, exchanges exchange."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from rewards.episodes import episode

from agentdistill.training.selection import Candidate, ScoredResponse, TokenView, Worth, checked_worths, choose
from agentdistill_selection.chance import ChanceConfig, chance
from agentdistill_selection.divergence import DivergenceConfig, divergence
from agentdistill_selection.provenance import CLASSES, ProvenanceConfig, class_of, classify, provenance
from agentdistill_selection.sentences import sentences

pytestmark = pytest.mark.oracle


def response(words: list[tuple[str, dict[str, float]]], step: int = 0) -> ScoredResponse:
    """A response of words, each with its log-probability under every model; a token is a word with its space."""
    text = "".join(word for word, _ in words)
    ends = np.cumsum([len(word) for word, _ in words])
    spans = np.stack([ends - [len(word) for word, _ in words], ends], axis=1).astype(np.int64)
    parts = words[0][1].keys()
    views = {p: TokenView(spans, np.array([v[p] for _, v in words], dtype=np.float32)) for p in parts}
    return ScoredResponse(step, text, views)


def candidate(*responses: ScoredResponse, key: str = "task") -> Candidate:
    return Candidate(episode([0.0] * max(len(responses), 1), key=key), responses)


def sentence(words: int, teacher: float, student: float, **more: float):
    """One sentence whose tokens have these probabilities."""
    values = {p: math.log(v) for p, v in {"teacher": teacher, "student": student, **more}.items()}
    return [(f"w{i} " if i < words - 1 else "end. ", values) for i in range(words)]


@given(st.text(alphabet="ab .!?\n…。)\"'", max_size=60))
def test_sentences_cover_every_character_once(text):
    found = sentences(text)
    if not text.strip():
        assert found == []
        return
    assert found[0][0] == 0 and found[-1][1] <= len(text) and not text[found[-1][1] :].strip()
    assert all(text[a:b].strip() for a, b in found)
    assert all(text[b:c].strip() == "" for (_, b), (c, _) in itertools.pairwise(found))


def test_sentences():
    text = 'I see a cup. It costs 3.5 dollars! "Take it."\nAction: take cup 1'
    assert [text[a:b] for a, b in sentences(text)] == [
        "I see a cup. ", "It costs 3.5 dollars! ", '"Take it."\n', "Action: take cup 1",
    ]  # fmt: skip


def test_the_classes_by_hand():
    both = ProvenanceConfig(alpha=0.05)
    assert class_of({"teacher": 0.5, "student": 0.47}, both) == "shared"
    assert class_of({"teacher": 0.5, "student": 0.3}, both) == "teacher"
    assert class_of({"teacher": 0.3, "student": 0.5}, both) == "student"
    assert class_of({"teacher": 0.5, "student": 0.42}, both) == "other"
    assert class_of({"teacher": 0.5, "student": 0.48, "distilled": 0.7}, both) == "boosted"
    assert class_of({"teacher": 0.5, "student": 0.3, "distilled": 0.9}, both) == "teacher"
    assert class_of({"teacher": 0.5, "student": 0.5, "distilled": 0.3}, both) == "other"
    with pytest.raises(ValidationError, match="would be shared"):
        ProvenanceConfig(alpha=0.2)


PROBABILITY = st.floats(0.001, 1.0)


@given(PROBABILITY, PROBABILITY, st.none() | PROBABILITY, st.floats(0, 0.3), st.floats(0, 0.3))
def test_every_sentence_has_one_class_and_exchanging_models_exchanges_it(teacher, student, distilled, alpha, more):
    config = ProvenanceConfig(alpha=alpha, beta=alpha + more)
    third = {} if distilled is None else {"distilled": distilled}
    found = class_of({"teacher": teacher, "student": student, **third}, config)
    assert found in CLASSES and (distilled is not None or found != "boosted")
    other = class_of({"teacher": student, "student": teacher, **third}, config)
    assert other == {"teacher": "student", "student": "teacher"}.get(found, found)
    assert class_of({"teacher": teacher, "student": teacher, "distilled": teacher}, config) == "shared"


@given(st.lists(st.tuples(st.integers(1, 4), PROBABILITY, PROBABILITY), min_size=1, max_size=8), st.integers(0, 99))
@settings(deadline=None)
def test_counts_do_not_depend_on_the_order_of_sentences_nor_of_turns(drawn, seed):
    parts = [sentence(*values) for values in drawn]
    shuffled = random.Random(seed).sample(parts, len(parts))
    config = ProvenanceConfig()
    whole = candidate(response([w for p in parts for w in p]))
    mixed = candidate(response([w for p in shuffled for w in p]))
    turns = candidate(*(response(p, step) for step, p in enumerate(shuffled)))
    worths = provenance([whole, mixed, turns], config)
    assert worths[0] == worths[1] == worths[2]
    assert sum(worths[0].notes.values()) == len(parts)
    (share,) = provenance([whole], ProvenanceConfig(share=True))
    assert share.score == pytest.approx(worths[0].score / len(parts))
    sums = [d.score for d in divergence([whole, mixed, turns], DivergenceConfig())]
    assert sums == pytest.approx([sums[0]] * 3, abs=1e-12)


def test_the_mean_of_a_sentence_is_geometric():
    words = [("one ", {"teacher": math.log(0.9), "student": math.log(0.1)}),
             ("two.", {"teacher": math.log(0.1), "student": math.log(0.1)})]  # fmt: skip
    view = response(words).views["teacher"]
    assert math.exp(view.mean(0, 8)) == pytest.approx(math.sqrt(0.09), abs=1e-7)
    assert classify(response(words), ProvenanceConfig()) == ["teacher"]
    assert math.isnan(view.mean(3, 4))


def test_divergence():
    strong, weak = candidate(response(sentence(3, 0.8, 0.1))), candidate(response(sentence(3, 0.2, 0.4)))
    same = candidate(response(sentence(2, 0.3, 0.3)))
    scores = [w.score for w in divergence([strong, weak, same], DivergenceConfig())]
    assert scores == pytest.approx([math.log(8), -math.log(2), 0.0], abs=1e-6)
    strict = DivergenceConfig(teacher_least=math.log(0.5), student_most=math.log(0.35))
    assert [w.score > -math.inf for w in divergence([strong, weak, same], strict)] == [True, False, False]
    (empty,) = divergence([candidate()], DivergenceConfig())
    assert empty.score == -math.inf


def test_units_of_divergence():
    parts = sentence(1, 0.9, 0.1) + sentence(3, 0.5, 0.5)
    (token,) = divergence([candidate(response(parts))], DivergenceConfig())
    (whole,) = divergence([candidate(response(parts))], DivergenceConfig(unit="sentence"))
    assert token.score == pytest.approx(math.log(9) / 4, abs=1e-6)
    assert whole.score == pytest.approx(math.log(9) / 2, abs=1e-6)


def test_lots_depend_on_the_episode_alone():
    made = [candidate(key=f"t{i}") for i in range(50)]
    scores = [w.score for w in chance(made, ChanceConfig())]
    assert scores[::-1] == [w.score for w in chance(made[::-1], ChanceConfig())]
    assert len(set(scores)) == 50 and scores != [w.score for w in chance(made, ChanceConfig(seed=1))]


def test_choosing():
    scores, tasks = [3.0, 1.0, 3.0, 2.0, -math.inf, 5.0], list("aababb")
    assert choose(scores, tasks) == [0, 1, 2, 3, 5]
    assert choose(scores, tasks, count=2) == [0, 5]
    assert choose(scores, tasks, share=0.5) == [0, 2, 5]
    assert choose(scores, tasks, per_task=1) == [0, 5]
    assert choose(scores, tasks, least=3.0) == [0, 2, 5]
    assert choose(scores, tasks, share=0.01) == [5] and choose([], []) == []
    assert choose([-math.inf], ["a"], share=1.0) == []


def test_what_a_selection_may_not_return():
    for bad in ([], [Worth(math.nan)], [Worth(math.inf)], [1.0]):
        with pytest.raises(Exception, match="selection `mine`"):
            checked_worths(bad, 1, "mine")
