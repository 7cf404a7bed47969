"""Which tokens of two vocabularies are the same."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from agentdistill.alignment.pieces import TokenPieces


def shared_ids(
    student: TokenPieces, teacher: TokenPieces, size: int, terminators: Mapping[int, int] | None = None
) -> npt.NDArray[np.int64]:
    """The student's id for each of the teacher's, where both write the same bytes.

    Bytes are compared and not the vocabularies' own spelling, so that " go" meets " go" across families. Special
    tokens write nothing and meet nobody, except as `terminators` says. Where one vocabulary writes the same bytes in
    several ways, the lowest id counts, so that no token is met twice.

    Args:
        student: the student's tokens.
        teacher: the teacher's.
        size: how many ids the teacher's output layer has.
        terminators: the student's id for special ids of the teacher.

    Returns:
        int64 [size], -1 where the student has no such token.
    """
    mine: dict[bytes, int] = {}
    for index, piece in student.vocabulary().items():
        mine.setdefault(piece, index)
    found = np.full(size, -1, dtype=np.int64)
    for index, piece in teacher.vocabulary().items():
        if index < size and piece in mine:
            found[index] = mine.pop(piece)
    for index, partner in (terminators or {}).items():
        found[index] = partner
    return found
