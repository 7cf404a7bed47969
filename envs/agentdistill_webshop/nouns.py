"""Nouns of a product's title, for the type reward: from a spaCy model, or from a word list where there is none."""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agentdistill.errors import ConfigError, import_extra
from agentdistill_webshop.words import NOT_NOUNS

MODELS = ("en_core_web_lg", "en_core_web_md", "en_core_web_sm")
"""Models that "auto" looks for, the authors' own first."""

LEXICON = "lexicon"
_NOUNS = ("PNOUN", "NOUN", "PROPN")
_REMEMBERED = 1 << 14

_WORD = re.compile(r"[^\W_]+(?:['’.&][^\W_]+)*")


def find_tagger(name: str) -> tuple[str, Callable[[str], tuple[str, ...]]]:
    """Finds who tells the nouns of a title.

    Args:
        name: "auto", "lexicon", or the name or folder of a spaCy model.

    Returns:
        The name under which results mention it, and the function: title -> its nouns, lower case, in order.

    Raises:
        ConfigError: there is no such model.
        MissingExtraError: a model was named and spaCy is not installed.
    """
    if name == "auto":
        name = next((model for model in MODELS if importlib.util.find_spec(model) is not None), LEXICON)
        if name != LEXICON and importlib.util.find_spec("spacy") is None:
            name = LEXICON
    if name == LEXICON:
        return f"{LEXICON}-1", lexicon_nouns
    return _spacy(name)


@functools.lru_cache(_REMEMBERED)
def lexicon_nouns(title: str) -> tuple[str, ...]:
    """Every word of a title but function words, numbers, and common adjectives and participles."""
    words = [word.lower() for word in _WORD.findall(title)]
    return tuple(word for word in words if not word[0].isdigit() and len(word) > 1 and word not in NOT_NOUNS)


@functools.cache
def _spacy(name: str) -> tuple[str, Callable[[str], tuple[str, ...]]]:
    spacy: Any = import_extra("spacy", "webshop-nlp", "finding nouns with a spaCy model")
    try:
        model = spacy.load(name)
    except OSError as error:
        raise ConfigError(
            f"There is no spaCy model `{name}`.",
            f"{str(error).splitlines()[0]}",
            'Install it, or set env.nouns = "lexicon".',
        ) from error

    @functools.lru_cache(_REMEMBERED)
    def nouns(title: str) -> tuple[str, ...]:
        return tuple(token.text.lower() for token in model(title) if token.pos_ in _NOUNS)

    meta = model.meta
    return f"{Path(name).name}-{meta.get('version', '')}", nouns
