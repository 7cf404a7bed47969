"""Texts as terms, as Lucene's English analyzer makes them: words, lower case, no stop words, Porter's stems."""

from __future__ import annotations

import re
from typing import Any

from agentdistill.errors import import_extra
from agentdistill_webshop.words import STOP_WORDS

VERSION = 1
"""Goes into every index: another number, another index."""

EXTRA = "webshop"

# Words as in Unicode's word segmentation, as far as it matters for a catalogue: an apostrophe, a full stop or a colon
# joins letters, a full stop or a comma joins digits, everything else separates.
_WORD = re.compile(r"\w+(?:(?:(?<=[^\W\d_])['’.:](?=[^\W\d_])|(?<=\d)[.,;'’](?=\d))\w+)*")
_POSSESSIVE = ("'s", "’s")
_LONGEST = 255
_REMEMBERED = 1 << 20


class Analyzer:
    """Makes terms of texts and remembers what became of each word."""

    def __init__(self) -> None:
        self._stem = _stemmer()
        self._known: dict[str, str] = {}

    def terms(self, text: str) -> list[str]:
        """The terms of a lower-case text, in order.

        Args:
            text: any text; half characters of a broken encoding separate words.
        """
        known = self._known
        if len(known) > _REMEMBERED:
            known.clear()
        terms = []
        for word in _WORD.findall(text):
            term = known.get(word)
            if term is None:
                term = known[word] = self._term(word)
            if term:
                terms.append(term)
        return terms

    def _term(self, word: str) -> str:
        """The term of a word, "" for a stop word."""
        word = word[:_LONGEST]
        if word.endswith(_POSSESSIVE):
            word = word[:-2]
        return "" if word in STOP_WORDS else self._stem(word)


def _stemmer() -> Any:
    module: Any = import_extra("Stemmer", EXTRA, "WebShop's search engine")
    return module.Stemmer("porter", 0).stemWord
