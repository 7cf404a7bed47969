"""Rows that begin alike: what they share is fed once.

The state of a token depends on what stands before it and on nothing else, so rows with a common beginning have the same
states there. Somebody else's turn at every state that a student visited makes a row of the whole history for each turn;
fed once, thirty turns cost little more than one row.
"""

from __future__ import annotations

from collections.abc import Sequence
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
        rows: int64 [length] each.
    """
    places: list[Tensor] = [torch.empty(0, dtype=torch.int64)] * len(rows)
    own: list[tuple[int, int]] = []
    tokens: list[Tensor] = []
    fed, before = 0, None
    for index in _sorted(rows):
        row = rows[index]
        common = 0 if before is None else _common(rows[before], row)
        new = len(row) - common
        shared = places[index] if before is None else places[before][:common]
        places[index] = torch.cat([shared, torch.arange(fed, fed + new)])
        if new:
            own.append((index, new))
            tokens.append(row[common:])
        fed, before = fed + new, index
    positions = [torch.arange(len(rows[index]) - new, len(rows[index])) for index, new in own]
    nothing = torch.empty(0, dtype=torch.int64)
    return SharedRows(torch.cat([nothing, *tokens]), torch.cat([nothing, *positions]), places, own)


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
    found: list[tuple[list[int], int]] = []
    group: list[int] = []
    fed = 0
    for index in _sorted(rows):
        row = rows[index]
        new = len(row) - (_common(rows[group[-1]], row) if group else 0)
        if group and new <= WORTH_IT * len(row) and fed + new <= budget:
            group.append(index)
            fed += new
        else:
            found.append((group, fed))
            group, fed = [index], len(row)
    found.append((group, fed))
    return [(sorted(g), fed) for g, fed in found if fed and fed <= WORTH_IT * sum(len(rows[i]) for i in g)]


def _sorted(rows: Sequence[Tensor]) -> list[int]:
    """Indices in the order of the rows' tokens: none has more in common with an earlier row than with the last one."""
    return sorted(range(len(rows)), key=[row.tolist() for row in rows].__getitem__)
