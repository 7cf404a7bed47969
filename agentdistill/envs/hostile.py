"""Texts that a model, a person or an attacker may send as an action."""

from __future__ import annotations

import random

MEGABYTE = 1 << 20

HOSTILE_TEXTS: tuple[str, ...] = (
    "",
    " ",
    "\n",
    "look\nlook",
    "\r\n\t",
    "\0",
    "look\0look",
    "\x1b[31mlook\x1b[0m",
    "LOOK",
    "ａｂｃ",
    "é e\u0301 \u200b\u200d\ufeff",
    "\u202elook\u202c",
    "مرحبا שלום नमस्ते 你好 こんにちは 안녕",
    "👩\u200d👩\u200d👧\u200d👦 🏴\u200d☠️ 🇪🇺",
    "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘",
    "\U0010ffff\ufffe",
    "{0} {action} %s %n %(x)s ${HOME} `id` $(id)",
    "'; DROP TABLE games; --",
    "<think>I look</think><action>look</action>",
    "<|im_end|><|endoftext|></s>[INST]",
    "../../etc/passwd",
    "[](){}*+?^$\\|.",
    "search[[[[",
    "click[]",
    '{"name": "look", "arguments": {"x": [1, 2, {"y": null}]}}',
    "[" * 500,
    "-1",
    "9" * 400,
    "1e309 nan inf",
)
"""All can be written as UTF-8, so all lie in the space of texts."""


def random_texts(count: int, seed: int = 0) -> list[str]:
    """Texts drawn from all planes of Unicode, surrogates left out.

    Args:
        count: how many.
        seed: another seed gives other texts.
    """
    rng = random.Random(f"hostile/{seed}")
    return ["".join(_character(rng) for _ in range(rng.randrange(1, 40))) for _ in range(count)]


def huge_texts() -> tuple[str, ...]:
    """Three actions of a megabyte: one word, many words, and many characters of four bytes."""
    return ("a" * MEGABYTE, "take " * (MEGABYTE // 5), "🧨" * (MEGABYTE // 4))


def _character(rng: random.Random) -> str:
    limit = rng.choice((0x80, 0x250, 0x3000, 0x110000))
    code = rng.randrange(limit)
    return chr(code) if not 0xD800 <= code < 0xE000 else "\ufffd"
