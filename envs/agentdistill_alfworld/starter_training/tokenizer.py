r"""The starter models' tokenizer: one token for an entity (" apple 3"), one for each frequent phrase.

A whole ALFWorld episode is about 160 tokens. Nothing is ever unknown: text outside the vocabulary falls back to
characters and then to bytes, so that encoding and decoding give back any text. The conversation is

    <first observation><act>go to fridge 1<end><observation><act>...

which the chat template produces from user (observation) and assistant (action) messages; rendering the first k
messages is always a prefix of rendering more.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD, ACT, END = "<pad>", "<act>", "<end>"
"""Padding; the agent's turn begins; the agent's turn is over."""

CONTEXT_LENGTH = 2048
"""Most tokens of a conversation that the starter models are built for."""

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'assistant' -%}{{ message['content'] + '<end>' }}"
    "{%- elif message['role'] == 'system' -%}{{ message['content'] + '\\n\\n' }}"
    "{%- else -%}{{ message['content'] + '<act>' }}{%- endif -%}"
    "{%- endfor -%}"
)
"""A user message already ends where the agent's turn begins, so a generation prompt adds nothing."""


@cache
def _vocabulary() -> dict[str, Any]:
    """The world's phrases and words, and how many of each receptacle and object type a room can have."""
    return json.loads(files(__package__).joinpath("vocabulary.json").read_text("utf-8"))


def object_limits() -> dict[str, int]:
    """Object type -> highest number that has a token of its own."""
    return dict(_vocabulary()["objects"])


def tokens() -> list[str]:
    """The vocabulary in the order of its ids."""
    table = _vocabulary()
    limits = {**table["receptacles"], **table["objects"]}
    ordered = [PAD, ACT, END, *table["phrases"]]
    ordered += [f" {name} {number}" for name in sorted(limits) for number in range(1, limits[name] + 1)]
    ordered += [f" {name}" for name in sorted(limits)]
    ordered += [f" {word}" for word in sorted(table["words"])]
    ordered += ["\n", *map(chr, range(32, 127))]
    ordered += [f"<0x{byte:02X}>" for byte in range(256)]
    return list(dict.fromkeys(ordered))


def _pattern() -> str:
    """A regular expression that cuts text into vocabulary entries, long phrases first."""
    phrases = sorted(_vocabulary()["phrases"], key=lambda phrase: (-len(phrase), phrase))
    # A phrase that ends in a letter must not cut a longer word ("The" in "There", ", a" in ", armchair").
    whole = [re.escape(p).replace("\\\n", r"\n") + ("(?![A-Za-z])" if p[-1].isalpha() else "") for p in phrases]
    return "|".join([*whole, r" [a-z]+ \d+", " ?[A-Za-z]+", r"[\s\S]"])


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Makes the tokenizer; the same one every time."""
    vocabulary = {token: index for index, token in enumerate(tokens())}
    # No merges: a piece that is in the vocabulary is one token (`ignore_merges`), any other is spelled out.
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True, byte_fallback=True, fuse_unk=False))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(_pattern()), behavior="isolated")
    core.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    core.add_special_tokens([PAD, ACT, END])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[ACT],
        clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT_LENGTH,
        padding_side="left",
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
