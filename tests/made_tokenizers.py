"""Tokenizers of several families, trained here on a few sentences, each with a chat template of its own."""

from __future__ import annotations

import json
from functools import cache

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

SENTENCES = [
    "You are in the middle of a room. Looking quickly around you, you see a desk 1, a drawer 2, and a shelf 3.",
    "go to desk 1", "go to drawer 2", "open drawer 2", "take mug 1 from desk 1", "move mug 1 to shelf 3",
    "On the desk 1, you see a mug 1, and a pencil 2.", "Nothing happens.", "Your task is to: put a mug in shelf.",
    "<think>\nThe desk is near.\n</think>\n<action>go to desk 1</action>", "naïve façade, 日本語, 🙂",
]  # fmt: skip

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
PLAIN = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ m['content'] + '<end>' }}"
    "{% else %}{{ m['content'] + '<act>' }}{% endif %}{% endfor %}"
)
THINKING = CHATML.replace("'<|im_start|>assistant\n'", "'<|im_start|>assistant\n<think>\n\n</think>\n\n'")
"""Puts an empty thought before every response it asks for, and leaves it out of the history."""


def wrapped(backend: Tokenizer, end: str, pad: str, template: str) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token=end,
        pad_token=pad,
        chat_template=template,
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
    )


@cache
def byte_level(size: int = 420, template: str = CHATML) -> PreTrainedTokenizerFast:
    """Byte-level BPE with ChatML, as Qwen and GPT have it."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(SENTENCES, trainer)
    return wrapped(backend, "<|im_end|>", "<|endoftext|>", template)


@cache
def word_level(template: str = PLAIN) -> PreTrainedTokenizerFast:
    """Whole words with the space before them, bytes for what is unknown, as the starters have it."""
    pattern = r" ?[A-Za-z]+| ?\d+|[\s\S]"
    words = pre_tokenizers.Split(Regex(pattern), "isolated")
    known = dict.fromkeys(word for text in SENTENCES for word, _ in words.pre_tokenize_str(text) if word.isascii())
    special = ["<pad>", "<act>", "<end>"]
    tokens = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *known]
    backend = Tokenizer(
        models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=[], byte_fallback=True, ignore_merges=True)
    )
    backend.pre_tokenizer = words
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    backend.add_special_tokens(special)
    return wrapped(backend, "<end>", "<pad>", template)


@cache
def sentence_piece(size: int = 480, strip: bool = True) -> PreTrainedTokenizerFast:
    """Words that begin with a mark for the space before them, bytes for what is unknown, as Llama 2 has it."""
    backend = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first" if strip else "never")
    special = ["<unk>", "<s>", "</s>"]
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=[*special, *fallback], show_progress=False)
    backend.train_from_iterator([text for text in SENTENCES if text.isascii()], trainer)
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if strip else steps)
    rules = json.loads(backend.to_str())
    rules["added_tokens"] = [token for token in rules["added_tokens"] if token["content"] in special]
    finished = Tokenizer.from_str(json.dumps(rules))
    return wrapped(finished, "</s>", "<s>", CHATML.replace("<|im_end|>", "</s>").replace("<|im_start|>", "<s>"))


@cache
def word_piece() -> PreTrainedTokenizerFast:
    """Pieces whose text depends on what comes before them: no table says what they write."""
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(cleanup=False)
    trainer = trainers.WordPieceTrainer(vocab_size=220, special_tokens=["[UNK]", "[PAD]", "[SEP]"], show_progress=False)
    backend.train_from_iterator(SENTENCES, trainer)
    return wrapped(backend, "[SEP]", "[PAD]", CHATML.replace("<|im_end|>", "[SEP]"))
