"""Pieces: the bytes of tokens, for tokenizers of every family and any text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_tokenizers import SENTENCES, byte_level, sentence_piece, word_level, word_piece
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer

from agentdistill.alignment.pieces import TokenPieces, byte_alphabet
from agentdistill.plugins import PluginRegistry

FAMILIES = {
    "byte-level": byte_level,
    "word-level": word_level,
    "sentencepiece": sentence_piece,
    "sentencepiece without a dummy space": lambda: sentence_piece(strip=False),
    "wordpiece": word_piece,
}
EVERY = pytest.mark.parametrize("family", FAMILIES)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def encode(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False)


def test_the_alphabet_is_that_of_byte_level_vocabularies():
    alphabet = byte_alphabet()
    assert sorted(alphabet) == sorted(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(alphabet.values()) == list(range(256))
    assert alphabet["Ġ"] == 0x20 and alphabet["Ċ"] == 0x0A


@EVERY
@settings(max_examples=150, deadline=None)
@given(text=TEXT)
def test_pieces_are_what_is_decoded(family, text):
    tokenizer = FAMILIES[family]()
    pieces, ids = TokenPieces(tokenizer), encode(tokenizer, text)
    written = pieces.of(ids)
    assert len(written) == len(ids)
    assert b"".join(written).decode() == pieces.decode(ids)


@pytest.mark.parametrize("family", ["byte-level", "word-level", "sentencepiece without a dummy space"])
@settings(max_examples=150, deadline=None)
@given(text=TEXT)
def test_tokenizers_that_lose_nothing_give_the_bytes_of_the_text(family, text):
    tokenizer = FAMILIES[family]()
    assert b"".join(TokenPieces(tokenizer).of(encode(tokenizer, text))) == text.encode()


def test_parts_of_a_character_are_told_apart_by_their_bytes():
    tokenizer = byte_level()
    ids = [i for b in "日".encode() for i in [tokenizer.convert_tokens_to_ids(byte_level_name(b))]]
    pieces = TokenPieces(tokenizer)
    assert pieces.of(ids) == [b"\xe6", b"\x97", b"\xa5"]
    assert pieces.of(ids[:2]) == [b"\xe6", b"\x97"]  # no character at all: the bytes, not a replacement


def byte_level_name(byte: int) -> str:
    return next(c for c, b in byte_alphabet().items() if b == byte)


def test_bytes_of_a_fallback_are_bytes():
    tokenizer = word_level()
    ids = encode(tokenizer, "é")
    assert [tokenizer.convert_ids_to_tokens(i) for i in ids] == ["<0xC3>", "<0xA9>"]
    assert TokenPieces(tokenizer).of(ids) == [b"\xc3", b"\xa9"]


def test_a_dummy_space_before_the_first_word_is_nobodys():
    tokenizer = sentence_piece()
    pieces, ids = TokenPieces(tokenizer), encode(tokenizer, "go to desk 1")
    assert tokenizer.convert_ids_to_tokens(ids)[0].startswith("▁")
    assert b"".join(pieces.of(ids)) == b"go to desk 1"


def test_a_decoder_that_depends_on_neighbours_is_asked_prefix_by_prefix():
    tokenizer = word_piece()
    ids = encode(tokenizer, "go to desk 1")
    written = TokenPieces(tokenizer).of(ids)
    assert b"".join(written) == tokenizer.decode(ids).encode()
    assert all(written)


def test_special_tokens_write_their_names_and_are_marked():
    tokenizer = byte_level()
    pieces = TokenPieces(tokenizer)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert pieces.of([end]) == [b"<|im_end|>"] and end in pieces.special
    assert end not in pieces.vocabulary()


@EVERY
def test_a_vocabulary_knows_what_words_of_its_own_write(family):
    tokenizer = FAMILIES[family]()
    vocabulary = TokenPieces(tokenizer).vocabulary()
    assert all(vocabulary.values()) and set(vocabulary) <= set(tokenizer.get_vocab().values())
    assert b"open" in {piece.strip() for piece in vocabulary.values()}


@pytest.mark.parametrize("text", SENTENCES)
def test_starter_tokens(text):
    place = PluginRegistry.load(third_party=False).get("model", "starter-teacher").path()
    tokenizer = AutoTokenizer.from_pretrained(place)
    assert b"".join(TokenPieces(tokenizer).of(encode(tokenizer, text))) == text.encode()
