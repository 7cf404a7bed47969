"""Methods that do not learn to say the words, why, and how far they come. Their pages in docs/methods quote this."""

from __future__ import annotations

from typing import NamedTuple


class Unable(NamedTuple):
    """A method that does not learn to say the words.

    Attributes:
        why: a clause.
        said: share of the words said after fifty steps from 0.41, with the recipe of `test_every_method`, by seed.
    """

    why: str
    said: tuple[float, float, float]


_REWARDS = "it learns from rewards alone, and fifty steps with 128 episodes each are too few"

UNABLE: dict[str, Unable] = {
    "loss/qcrd": Unable(
        "it learns from the contrast of the student's own episodes, without the teacher's scores", (0.70, 0.50, 0.70)
    ),
    "loss/redi": Unable(
        "it learns from the student's own wins and losses, without the teacher's scores", (0.50, 0.55, 0.64)
    ),
    "loss/tsd-kd": Unable(
        "its weights and rankings are made for long responses, and these have three tokens", (0.48, 0.48, 0.52)
    ),
    "fusion/rlsd": Unable(_REWARDS, (0.55, 0.47, 0.39)),
    "fusion/agentopsd": Unable(_REWARDS, (0.47, 0.47, 0.38)),
    "fusion/trial": Unable(_REWARDS, (0.39, 0.58, 0.48)),
}
"""By "kind/name"."""
