"""Two ways of cutting one text into tokens, brought together where both cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agentdistill.alignment.pieces import common_start


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """Consecutive spans of two token sequences; together they are the whole of both.

    Attributes:
        first: int64 [n + 1], span s of the first sequence is the tokens from first[s] up to first[s + 1].
        second: int64 [n + 1], likewise.
        equal: bool [n], both sides have tokens and write the same bytes. Where the texts are the same all spans are.
    """

    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    equal: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.equal)


def align(first: Sequence[bytes], second: Sequence[bytes]) -> Spans:
    """Finds the smallest spans that begin and end at the same byte in both sequences.

    Where the texts differ, what they have in common at their beginning and at their end is aligned, and what lies
    between is one span that is not equal. Texts that differ in the white space around them only are aligned inside it.

    Args:
        first: the pieces of one sequence (`TokenPieces.of`).
        second: those of another.

    Returns:
        The spans. Tokens without bytes go with the next token that has some.
    """
    n, m = len(first), len(second)
    if not n and not m:
        return Spans(np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(0, np.bool_))
    a, b = b"".join(first), b"".join(second)
    # The first token that ends at a byte closes what ends there.
    ends_a = np.cumsum([len(piece) for piece in first], dtype=np.int64)
    ends_b = np.cumsum([len(piece) for piece in second], dtype=np.int64)
    bytes_a, bytes_b = _common_cuts(a, b, ends_a, ends_b)
    tokens_a = np.concatenate([[0], _tokens_at(bytes_a, ends_a), [n]])
    tokens_b = np.concatenate([[0], _tokens_at(bytes_b, ends_b), [m]])
    places_a, places_b = [0, *bytes_a.tolist(), len(a)], [0, *bytes_b.tolist(), len(b)]
    same = a == b
    equal = [
        tokens_a[s] < tokens_a[s + 1]
        and tokens_b[s] < tokens_b[s + 1]
        and (same or a[places_a[s] : places_a[s + 1]] == b[places_b[s] : places_b[s + 1]])
        for s in range(len(tokens_a) - 1)
    ]
    return Spans(tokens_a.astype(np.int64), tokens_b.astype(np.int64), np.asarray(equal, dtype=np.bool_))


def _common_cuts(
    a: bytes, b: bytes, ends_a: npt.NDArray[np.int64], ends_b: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The bytes of both texts, between their ends, where both are cut."""
    found_a, found_b = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    if a and b:
        cuts_a, cuts_b = np.unique(np.append(ends_a, 0)), np.unique(np.append(ends_b, 0))
        for start_a, start_b, length in _common_text(a, b):
            inside_a = cuts_a[(cuts_a >= start_a) & (cuts_a <= start_a + length)] - start_a
            inside_b = cuts_b[(cuts_b >= start_b) & (cuts_b <= start_b + length)] - start_b
            common = np.intersect1d(inside_a, inside_b, assume_unique=True)
            found_a.append(common + start_a)
            found_b.append(common + start_b)
    both_a, both_b = np.concatenate(found_a), np.concatenate(found_b)
    outer = ((both_a == 0) & (both_b == 0)) | ((both_a == len(a)) & (both_b == len(b)))
    return both_a[~outer], both_b[~outer]


def _common_text(a: bytes, b: bytes) -> list[tuple[int, int, int]]:
    """Where two texts are the same, as (place in a, place in b, length), in order and apart."""
    if a == b:
        return [(0, 0, len(a))]
    core = a.strip()
    if core and core == b.strip():  # chat templates like to trim
        return [(len(a) - len(a.lstrip()), len(b) - len(b.lstrip()), len(core))]
    head = common_start(a, b)
    tail = min(common_start(a[::-1], b[::-1]), min(len(a), len(b)) - head)
    return [(0, 0, head), (len(a) - tail, len(b) - tail, tail)]


def _tokens_at(cuts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How many tokens lie before each cut; at the end of the text all of them, at its beginning none."""
    if not len(cuts):
        return np.zeros(0, np.int64)
    counts = np.searchsorted(ends, cuts, side="left") + 1
    return np.where(cuts == 0, 0, np.where(cuts == ends[-1], len(ends), counts)).astype(np.int64)
