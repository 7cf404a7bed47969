"""The reward, worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thefuzz import fuzz

from agentdistill_webshop.expert import best_options
from agentdistill_webshop.goals import UNLIMITED, Goal, price_limit
from agentdistill_webshop.nouns import find_tagger, lexicon_nouns
from agentdistill_webshop.product import Product
from agentdistill_webshop.reward import (
    matching_attributes,
    matching_options,
    normalize_color,
    score_purchase,
    similar,
    type_reward,
)

TABLE = Product(
    asin="B000000001",
    title="Acme Black Console Table",
    description="A table of solid wood.",
    bullets=("Easy assembly",),
    price_tag="$53.99",
    pricing=(53.99,),
    options={"color": ("black", "white | oak"), "size": ("40 inch", "60 inch")},
    attributes=("solid wood", "storage shelf"),
    category="garden",
    query="console table",
    product_category="Home › Furniture › Tables",
)


def goal(**changes):
    values = {
        "place": 0, "asin": TABLE.asin, "title": TABLE.title, "category": "garden", "query": "console table",
        "product_category": TABLE.product_category, "instruction": "", "attributes": ("solid wood",),
        "options": ("black",), "price_upper": 60.0,
    }  # fmt: skip
    return Goal(**{**values, **changes})


def score(wanted, options, price=53.99, product=TABLE):
    return score_purchase(product, options, price, wanted, lexicon_nouns)


def test_everything_right_is_one():
    found = score(goal(), {"color": "black"})
    assert found.reward == 1.0 and found.to_dict()["r_option"] == 1.0 and found.r_price


@pytest.mark.parametrize(
    ("wanted", "options", "price", "reward"),
    [
        (goal(), {}, 53.99, 2 / 3),  # attribute and price, no option
        (goal(), {"color": "white | oak"}, 53.99, 2 / 3),
        (goal(), {"color": "black"}, 60.01, 2 / 3),  # too dear
        (goal(), {"color": "black"}, 60.0, 1.0),  # exactly the limit is cheap enough
        (goal(attributes=("solid wood", "hand carved")), {"color": "black"}, 53.99, 3 / 4),
        (goal(options=()), {}, 53.99, 1.0),
        (goal(options=("black", "40 inch")), {"color": "black"}, 53.99, 3 / 4),
        (goal(options={"color": "black", "size": "40 inch"}), {"color": "black", "size": "40 inch"}, 53.99, 1.0),
        (goal(attributes=("easy assembly",)), {"color": "black"}, 53.99, 1.0),  # only in the features
        (goal(attributes=("a table of",)), {"color": "black"}, 53.99, 1.0),  # only in the description
    ],
)
def test_partial_rewards(wanted, options, price, reward):
    assert score(wanted, options, price).reward == pytest.approx(reward, abs=1e-12)


@pytest.mark.parametrize(
    ("changes", "r_type", "title_score"),
    [
        ({}, 1.0, 1.0),
        ({"query": "other", "product_category": "Toys"}, 1.0, 1.0),  # the title alone
        ({"title": "Acme Vase Bowl Jug Pot", "query": "other", "product_category": "Toys"}, 0.5, 0.2),
        ({"title": "Acme Vase Bowl Jug Pot", "product_category": "Toys"}, 1.0, 0.2),  # same query
        ({"title": "Acme Vase Bowl Jug Pot", "query": "other"}, 1.0, 0.2),  # same shelves
        ({"title": "Vase Bowl Jug Pot"}, 0.0, 0.0),  # no noun in common: nothing, whatever else agrees
        ({"title": "Acme " + " ".join(f"Vase{chr(97 + i)}" for i in range(10))}, 0.1, 1 / 11),
        ({"title": "for the 12"}, 1.0, 0.2),  # nothing to compare
        ({"title": "for the 12", "query": "other", "product_category": "Toys"}, 0.5, 0.2),
    ],
)
def test_the_kind_of_product(changes, r_type, title_score):
    found = type_reward(TABLE, goal(**changes), lexicon_nouns)
    assert found[0] == r_type and found[3] == pytest.approx(title_score)
    assert score(goal(**changes), {"color": "black"}).reward == pytest.approx(r_type)


def test_two_shelves_must_agree_and_equal_ones_count_once():
    shelves = [("a › b › c", "b › c › a", True), ("a › a › b", "a › b", True), ("a › a › d", "a › b › c", False)]
    for bought, wanted, agree in shelves:
        product = Product.from_bytes(TABLE.to_bytes())
        product = Product(**{**{n: getattr(product, n) for n in Product.__slots__}, "product_category": bought})
        assert type_reward(product, goal(product_category=wanted), lexicon_nouns)[2] is agree


def test_attributes_may_differ_by_a_letter():
    product = Product(**{**{n: getattr(TABLE, n) for n in Product.__slots__}, "attributes": ("essential oil",)})
    assert matching_attributes(product, ("essential oils", "tea tree")) == 1


def test_options_are_compared_by_their_color_and_loosely():
    assert normalize_color("heather grey") == "grey" and normalize_color("dark grey") == "dark"
    assert normalize_color("40 inch") == "40 inch" and normalize_color(("color", "black")) == "black"
    assert matching_options(["dark navy blue"], ["sky blue"]) == 1
    assert matching_options(["pack of 12", "powder snow", "xl"], ["cool powder snow", "xl", "pack of 12"]) == 3
    assert matching_options(["x-large"], [("size", "x-large")]) == 1  # the pair, written out, is compared
    assert matching_options(["small"], [("size", "x-large")]) == 0
    assert matching_options([], ["red"]) == 0 and matching_options(["red"], []) == 0


@settings(deadline=None)
@given(st.text(max_size=30), st.text(max_size=30))
def test_similarity_is_thefuzz_s(one, other):
    assert similar(one, other) == (fuzz.token_set_ratio(one, other) > 85)


def test_the_price_limit_is_the_larger_of_two_of_four_steps():
    import random

    seen = {price_limit(53.99, random.Random(seed)) for seed in range(200)}
    assert seen == {70.0, 80.0, 90.0}
    assert price_limit(985.0, random.Random(0)) == UNLIMITED
    assert price_limit(975.0, random.Random(0)) == 990.0


def test_the_expert_chooses_what_is_wanted_and_nothing_else():
    assert best_options(TABLE, goal(options=("40 inch", "black"))) == {"color": "black", "size": "40 inch"}
    assert best_options(TABLE, goal(options={"size": "60 inch"})) == {"size": "60 inch"}
    assert best_options(TABLE, goal(options=("no such thing",))) == {}
    assert best_options(TABLE, goal(options=())) == {}


@pytest.mark.parametrize(
    ("wanted", "bought", "low", "high"),
    [  # title scores that a large tagger finds are 0.33, 0.3, 0.15 and less than 0.05
        ("Mens D.O.N. Issue 2 Gca Basketball Sneakers Shoes Casual - Off White",
         "PEAK High Top Mens Basketball Shoes Lou Williams Streetball Master Breathable Non Slip Outdoor Sneakers",
         0.21, 0.6),
        ("Rusticware 921ORB Kitchen and Bath Cabinet Knob",
         "Minkissy 2pcs Stainless Steel Eyebrow Tweezers Blackhead Acne Remover Portable Makeup Tweezers (Silver)",
         0.0, 0.05),
    ],
)  # fmt: skip
def test_the_word_list_finds_about_what_a_tagger_finds(wanted, bought, low, high):
    nouns = lexicon_nouns(wanted)
    assert low <= len(set(nouns) & set(lexicon_nouns(bought))) / len(nouns) <= high


def test_a_spacy_model_is_used_when_it_is_there(tmp_path):
    import spacy

    model = spacy.blank("en")
    ruler = model.add_pipe("attribute_ruler")
    ruler.add(patterns=[[{"LOWER": "table"}]], attrs={"POS": "NOUN"})
    model.meta["version"] = "9.9"
    model.to_disk(tmp_path / "tiny_model")
    name, nouns = find_tagger(str(tmp_path / "tiny_model"))
    assert name == "tiny_model-9.9" and nouns("Acme Console Table") == ("table",)
    assert find_tagger("lexicon")[0] == "lexicon-1"
