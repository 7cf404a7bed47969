"""The search engine: bm25s' own scores, Lucene's words, and a fixed order."""

from __future__ import annotations

import random

import bm25s
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentdistill_webshop import search as search_module
from agentdistill_webshop.analysis import Analyzer
from agentdistill_webshop.search import K1, B, IndexWriter, SearchEngine

WORDS = [f"w{number}x" for number in range(60)]


def built(folder, documents):
    writer = IndexWriter(folder)
    for document in documents:
        writer.add(document)
    writer.finish()
    return SearchEngine(folder)


@pytest.mark.parametrize("batch", [3, 1024])
def test_scores_are_those_that_bm25s_computes_itself(tmp_path, monkeypatch, batch):
    monkeypatch.setattr(search_module, "_BATCH", batch)
    monkeypatch.setattr(search_module, "_POSTINGS", 7)
    rng = random.Random(0)
    documents = [" ".join(rng.choices(WORDS, weights=range(1, 61), k=rng.randint(0, 30))) for _ in range(50)]
    ours = built(tmp_path / "index", documents)
    analyzer = Analyzer()
    tokens = [analyzer.terms(document) for document in documents]
    theirs = bm25s.BM25(k1=K1, b=B, method="lucene")
    theirs.index(tokens, show_progress=False)
    for _ in range(40):
        query = rng.choices(WORDS, k=rng.randint(1, 8))
        known = [term for term in analyzer.terms(" ".join(query)) if term in theirs.vocab_dict]
        expected = theirs.get_scores(known) if known else np.zeros(50, np.float32)
        np.testing.assert_allclose(ours.scores(" ".join(query)), expected, rtol=2e-5, atol=1e-6)


def test_equal_scores_stand_in_catalogue_order_and_only_hits_are_found(tmp_path):
    engine = built(tmp_path / "index", ["red shoe", "blue hat", "red shoe", "red shoe"] * 30)
    assert engine.search("shoes") == tuple(n for n in range(120) if n % 4 != 1)[:50]
    assert engine.search("hat") == tuple(range(1, 120, 4))
    assert engine.search("nothing of the kind") == () and engine.search("") == () and engine.search("the of") == ()


def test_words_are_lucenes():
    terms = Analyzer().terms
    assert terms("women's running shoes for the o'clock u.s.a. 3.5 inch, non-slip wi_fi") == [
        "women", "run", "shoe", "o'clock", "u.s.a", "3.5", "inch", "non", "slip", "wi_fi",
    ]  # fmt: skip
    assert terms("caresses ponies relational") == ["caress", "poni", "relat"]
    assert terms("café 日本 ☕") == ["café", "日本"]


def test_a_megabyte_of_a_word_is_searched_at_once(tmp_path):
    engine = built(tmp_path / "index", ["red shoe", "blue hat"])
    assert engine.search("shoe " * 200_000) == (0,)
    assert engine.search("hat hat shoe") == (1, 0)


@settings(deadline=None, max_examples=60)
@given(st.text(st.characters(exclude_categories=()), max_size=80))
def test_any_text_can_be_indexed_and_searched(tmp_path_factory, text):
    engine = built(tmp_path_factory.mktemp("any") / "index", [text.lower(), "shoe"])
    found = engine.search(text.lower())
    assert (0 in found) == bool(Analyzer().terms(text.lower()))
