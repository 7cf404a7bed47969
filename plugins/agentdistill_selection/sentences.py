"""Sentences of a text: where they begin and end. Together they cover every character exactly once."""

from __future__ import annotations

import itertools
import re

_END = re.compile(r"(?:[.!?…。！？]+[\"')\]]*(?=\s|$)|\n)\s*")


def sentences(text: str) -> list[tuple[int, int]]:
    """Character ranges (from, to) in order; a sentence ends after its mark or a line break, white space included.

    A text without any sentence but with characters is one sentence; an empty text has none.
    """
    ends = [match.end() for match in _END.finditer(text)]
    bounds = [0, *ends] if ends and ends[-1] == len(text) else [0, *ends, len(text)]
    found = [(start, end) for start, end in itertools.pairwise(bounds) if text[start:end].strip()]
    if found:  # white space before the first sentence belongs to it
        found[0] = (0, found[0][1])
    return found
