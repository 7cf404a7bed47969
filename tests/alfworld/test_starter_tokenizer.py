from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text_games import real_games
from transformers import AutoTokenizer

from agentdistill.conversation.base import Message
from agentdistill.conversation.template import ChatRenderer
from agentdistill.records import Task
from agentdistill_alfworld.demonstrations import Mistakes, demonstrate
from agentdistill_alfworld.experts.text import TextExpert
from agentdistill_alfworld.fast import FastGame
from agentdistill_alfworld.generate import generate
from agentdistill_alfworld.starter_training.tokenizer import ACT, END, PAD, build_tokenizer, object_limits, tokens

TOKENIZER = build_tokenizer()
FIRST = (
    "-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room. Looking quickly around you, you see a "
    "fridge 1, and a desk 1.\n\nYour task is to: put a clean apple in fridge."
)


def pieces(text: str) -> list[str]:
    return TOKENIZER.convert_ids_to_tokens(TOKENIZER.encode(text, add_special_tokens=False))


def test_vocabulary_is_small_unique_and_begins_with_the_specials() -> None:
    vocabulary = tokens()
    assert vocabulary[:3] == [PAD, ACT, END]
    assert len(vocabulary) == len(set(vocabulary)) == len(TOKENIZER) <= 1000
    assert TOKENIZER.pad_token_id == 0
    assert TOKENIZER.eos_token == END


def test_an_entity_and_a_phrase_are_one_token() -> None:
    assert pieces("take apple 3 from fridge 1") == ["take", " apple 3", " from", " fridge 1"]
    assert pieces("You arrive at desk 1. On the desk 1, you see a mug 2, and a pen 1.") == [
        *("You arrive at", " desk 1", ". On the", " desk 1", ", you see a", " mug 2", ", and a", " pen 1", "."),
    ]
    assert len(pieces(FIRST)) == 12


def test_a_phrase_never_cuts_a_word() -> None:
    assert pieces("There, armchair 1")[-2:] == [",", " armchair 1"]


@pytest.mark.parametrize("split", ["valid_seen", "valid_train"])
def test_real_text_is_made_of_the_world_vocabulary(split: str, alfworld_data: Path) -> None:
    """Every observation and action round-trips, and nothing but punctuation has to be spelled out."""
    expert, rng = TextExpert(), Random("tokenizer")
    for game in real_games(split, alfworld_data):
        task = Task("alfworld", split, game.key)
        episode = demonstrate(task, FastGame(game), expert, rng, Mistakes(rate=0.0))
        for step in episode.steps:
            for text in (step.observation, step.action):
                assert TOKENIZER.decode(TOKENIZER.encode(text, add_special_tokens=False)) == text
                assert [piece for piece in pieces(text) if len(piece) == 1 and piece not in ".,"] == []


def test_generated_entities_have_tokens_of_their_own() -> None:
    limits = object_limits()
    known = set(tokens())
    for split in ("train", "valid_unseen"):
        for game in generate(split, 200, seed=5):
            placed = {item for item, _ in game.placement}
            unknown = [
                n for i, n in game.names.items() if (i in placed or i in game.receptacles) and f" {n}" not in known
            ]
            assert [name for name in unknown if name.split(" ")[0] in limits] == []


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.characters(max_codepoint=127), max_size=80))
def test_any_ascii_text_round_trips(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text, add_special_tokens=False)) == text


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_text_round_trips(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text, add_special_tokens=False)) == text


def test_a_saved_tokenizer_is_the_same(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.get_vocab() == TOKENIZER.get_vocab()
    assert loaded.encode(FIRST) == TOKENIZER.encode(FIRST)
    assert loaded.chat_template == TOKENIZER.chat_template
    assert (loaded.pad_token, loaded.eos_token) == (PAD, END)


def test_template_renders_turns_and_keeps_prefixes() -> None:
    messages = [
        {"role": "user", "content": FIRST},
        {"role": "assistant", "content": "go to desk 1"},
        {"role": "user", "content": "Nothing happens."},
        {"role": "assistant", "content": "go to fridge 1"},
    ]
    whole = TOKENIZER.apply_chat_template(messages, tokenize=False)
    assert whole == f"{FIRST}<act>go to desk 1<end>Nothing happens.<act>go to fridge 1<end>"
    for count in range(1, 4):
        for prompt in (False, True):
            part = TOKENIZER.apply_chat_template(messages[:count], tokenize=False, add_generation_prompt=prompt)
            assert whole.startswith(part)


def test_the_renderer_accepts_it() -> None:
    renderer = ChatRenderer(TOKENIZER)
    assert renderer.incremental
    assert renderer.terminator == TOKENIZER.eos_token_id
    conversation = [
        Message("user", FIRST),
        Message("assistant", "go to desk 1", 0),
        Message("user", "You arrive at desk 1. On the desk 1, you see nothing."),
    ]
    text = TOKENIZER.apply_chat_template([{"role": m.role, "content": m.content} for m in conversation], tokenize=False)
    assert renderer.prompt(conversation) == TOKENIZER.encode(text, add_special_tokens=False)
