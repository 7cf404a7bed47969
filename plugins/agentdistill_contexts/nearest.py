"""Which texts of a collection are nearest to a query, and how near by their words (BM25)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from agentdistill.errors import import_extra

Scores = npt.NDArray[np.float32]

_WORDS = re.compile(r"[^\W_]+")


class Index(Protocol):
    """Texts that can be asked for."""

    def scores(self, query: str) -> Scores:
        """How near each text is to the query, float32 [texts]; 0 or less has nothing to do with it."""
        ...

    @property
    def fingerprint(self) -> str:
        """What decides on nearness, besides the texts."""
        ...

    def notes(self) -> Sequence[str]:
        """What a reader of results should know."""
        ...


class WordIndex:
    """BM25 with Lucene's weights, by the library `bm25s`. Words are runs of letters and digits in lower case.

    Args:
        texts: the collection.

    Raises:
        MissingExtraError: `bm25s` is not installed.
    """

    fingerprint = "bm25 lucene k1=1.5 b=0.75"

    def __init__(self, texts: Sequence[str]) -> None:
        bm25s: Any = import_extra("bm25s", "retrieval", "Retrieval of demonstrations by words")
        self._count = len(texts)
        self._engine = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
        words = [_words(text) for text in texts]
        self._known = {word for text in words for word in text}
        if self._known:
            self._engine.index(words, show_progress=False)

    def scores(self, query: str) -> Scores:
        """BM25 of every text; 0 where no word of the query occurs. A word counts once however often it is asked."""
        asked = [word for word in dict.fromkeys(_words(query)) if word in self._known]
        if not asked:
            return np.zeros(self._count, np.float32)
        return np.asarray(self._engine.get_scores(asked), dtype=np.float32)

    def notes(self) -> Sequence[str]:
        """None."""
        return ()


def _words(text: str) -> list[str]:
    return _WORDS.findall(text.lower())
