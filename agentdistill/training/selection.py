"""The contract of selections: which collected episodes are worth imitating, by what models think of their text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from agentdistill.errors import PluginError
from agentdistill.records import Trajectory


@dataclass(frozen=True, slots=True, eq=False)
class TokenView:
    """How one model reads a text: its tokens, and how probable it finds each.

    Attributes:
        spans: int64 [n, 2], the characters each token adds, from and to; empty where a token only begins a character.
        logprob: float32 [n], log-probability of each token given everything before it, nats.
    """

    spans: npt.NDArray[np.int64]
    logprob: npt.NDArray[np.float32]

    def mean(self, start: int = 0, end: int | None = None) -> float:
        """Mean log-probability of the tokens that begin in text[start:end]; NaN without one."""
        begins = self.spans[:, 0]
        inside = (begins >= start) & (begins < end) if end is not None else begins >= start
        return float(self.logprob[inside].astype(np.float64).mean()) if inside.any() else math.nan


@dataclass(frozen=True, slots=True, eq=False)
class ScoredResponse:
    """One turn's response, as several models see it. Their tokenizers may differ: text is what they share.

    Attributes:
        step: index of the turn.
        text: the response, without its terminator.
        views: by the model's part: "student", "teacher", and "distilled" where one was given.
    """

    step: int
    text: str
    views: Mapping[str, TokenView]


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """An episode that may be selected.

    Attributes:
        trajectory: the episode, as it was stored.
        responses: those of its turns that would be imitated, in order.
    """

    trajectory: Trajectory
    responses: Sequence[ScoredResponse]


@dataclass(frozen=True, slots=True)
class Worth:
    """What a selection thinks of an episode.

    Attributes:
        score: the larger the better; minus infinity for one that must not be selected.
        notes: numbers that explain it, for the record.
    """

    score: float
    notes: Mapping[str, float] = field(default_factory=dict)


def checked_worths(values: Sequence[Worth], count: int, name: str) -> list[Worth]:
    """What a selection returned: one worth per candidate, none of them NaN.

    Raises:
        PluginError: it is something else.
    """
    if len(values) != count or not all(isinstance(value, Worth) for value in values):
        raise PluginError(
            f"The selection `{name}` judged {len(values)} of {count} episodes.", "", "Return one `Worth` for each."
        )
    for place, value in enumerate(values):
        if math.isnan(value.score) or value.score == math.inf:
            raise PluginError(
                f"The selection `{name}` gave the episode {place} the score {value.score}.",
                "Scores are compared, and this one compares with nothing.",
                "Return a finite score, or minus infinity for an episode that must not be selected.",
            )
    return list(values)


def choose(
    scores: Sequence[float],
    tasks: Sequence[str],
    *,
    share: float | None = None,
    count: int | None = None,
    per_task: int | None = None,
    least: float | None = None,
) -> list[int]:
    """Which episodes to keep: the best ones, by score; of equal ones those that come first.

    Args:
        scores: of each episode; minus infinity is never kept.
        tasks: what task each is of.
        share: keep so much of all episodes, rounded to the nearest number and at least one.
        count: keep at most so many.
        per_task: keep at most so many of each task.
        least: keep none with a lower score.

    Returns:
        Their places, in their own order.
    """
    order = sorted(range(len(scores)), key=lambda place: (-scores[place], place))
    limit = len(scores) if count is None else count
    if share is not None:
        limit = min(limit, max(1, round(share * len(scores))))
    kept: list[int] = []
    taken: dict[str, int] = {}
    for place in order:
        if len(kept) == limit:
            break
        if scores[place] == -math.inf or (least is not None and scores[place] < least):
            continue
        if per_task is not None and taken.get(tasks[place], 0) >= per_task:
            continue
        taken[tasks[place]] = taken.get(tasks[place], 0) + 1
        kept.append(place)
    return sorted(kept)
