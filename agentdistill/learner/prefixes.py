"""Rows that begin alike: what they share is fed once.

The state of a token depends on what stands before it and on nothing else, so rows with a common beginning have the same
states there. Somebody else's turn at every state that a student visited makes a row of the whole history for each turn;
fed once, thirty turns cost little more than one row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

WORTH_IT = 0.5
"""Most of the rows' tokens that may be left to feed: below it, what is saved is far more than looking it up costs."""


@dataclass(frozen=True, slots=True)
class SharedRows:
    """The distinct tokens of some rows.

    Attributes:
        tokens: int64 [T], those that are fed, each row's own ones together.
        positions: int64 [T], their positions in the rows.
        places: for each row, int64 [its length]: where in `tokens` each of its tokens is.
        own: (row, its own tokens) in the order of `tokens`, for the rows that have any; they stand at a row's end.
    """

    tokens: Tensor
    positions: Tensor
    places: list[Tensor]
    own: list[tuple[int, int]]

    @property
    def worth_it(self) -> bool:
        """Whether so much is shared that feeding it once pays."""
        return len(self.tokens) <= WORTH_IT * sum(len(place) for place in self.places)


def share_prefixes(rows: Sequence[Tensor]) -> SharedRows:
    """Finds the tokens that rows have in common at their beginnings.

    Args:
        rows: int64 [length] each, at least one, none empty.
    """
    places = [torch.empty(0, dtype=torch.int64)] * len(rows)
    own: list[tuple[int, int]] = []
    tokens: list[Tensor] = []
    positions: list[Tensor] = []
    fed, path = 0, places[0]
    for index, common in _in_order(rows):
        row = rows[index]
        new = len(row) - common
        path = places[index] = torch.cat([path[:common], torch.arange(fed, fed + new)])
        if new:
            own.append((index, new))
            tokens.append(row[common:])
            positions.append(torch.arange(common, len(row)))
        fed += new
    return SharedRows(torch.cat(tokens), torch.cat(positions), places, own)


def _common(left: Tensor, right: Tensor) -> int:
    """How many tokens two rows have in common at their beginnings."""
    length = min(len(left), len(right))
    different = torch.nonzero(left[:length] != right[:length])
    return int(different[0]) if len(different) else length


def families(rows: Sequence[Tensor], budget: int) -> list[tuple[list[int], int]]:
    """Rows that had better be fed together.

    Args:
        rows: int64 [length] each.
        budget: most tokens to feed for rows that go together.

    Returns:
        Groups of at least two rows that are worth sharing, each with the number of tokens to feed.
    """
    groups: list[list[int]] = []
    fed: list[int] = []
    for index, common in _in_order(rows):
        new = len(rows[index]) - common
        if groups and new <= WORTH_IT * len(rows[index]) and fed[-1] + new <= budget:
            groups[-1].append(index)
            fed[-1] += new
        else:
            groups.append([index])
            fed.append(len(rows[index]))
    # A row alone shares nothing, so that it is never worth it.
    return [(sorted(g), f) for g, f in zip(groups, fed, strict=True) if f <= WORTH_IT * sum(len(rows[i]) for i in g)]


def _in_order(rows: Sequence[Tensor]) -> Iterator[tuple[int, int]]:
    """Yields rows in the order of their tokens, each with how many it has in common with the one before.

    With no other earlier row it has more.
    """
    before = None
    for index in sorted(range(len(rows)), key=[row.tolist() for row in rows].__getitem__):
        yield index, 0 if before is None else _common(rows[before], rows[index])
        before = index
