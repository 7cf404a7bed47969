"""The distribution of a mixture, from what its members say: exact where all is known, never too large where it is not.

Notation: pi = sum_j w_j pi_j, position by position. All sums are made in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from agentdistill.records import TeacherScores

Missing = Literal["drop", "renormalise"]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sampled:
    """The mixture at the sampled tokens of a row.

    Attributes:
        logprob: float64 [T], log sum_j w_j pi_j(token); NaN where it is not valid.
        shares: float64 [J, T], each member's part of that sum, adding up to 1; 0 where it is not valid.
        known: bool [J, T], which members have an opinion.
    """

    logprob: Float64
    shares: Float64
    known: npt.NDArray[np.bool_]

    @property
    def valid(self) -> npt.NDArray[np.bool_]:
        """Where there is a score."""
        return np.isfinite(self.logprob)

    @property
    def source(self) -> npt.NDArray[np.int16]:
        """int16 [T], the member with the largest part; -1 without a score."""
        return np.where(self.valid, self.shares.argmax(0), -1).astype(np.int16)


def mix_sampled(scores: Sequence[TeacherScores], weights: Float64, missing: Missing) -> Sampled:
    """Mixes the log-probabilities of the tokens that are there; exact.

    Args:
        scores: one for each member, of the same row.
        weights: [J], adding up to 1.
        missing: "drop" has no score where a member has none; "renormalise" mixes those that have one.
    """
    given = np.stack([s.sampled_logprob.astype(np.float64) for s in scores])
    known = np.stack([s.valid for s in scores]) & np.isfinite(given)
    usable = known.all(0) if missing == "drop" else known.any(0)
    # In logarithms, so that a token all members find impossible in float64 keeps its score.
    with np.errstate(divide="ignore"):
        logs = np.where(known & usable, np.where(known, given, 0.0) + np.log(weights)[:, None], -np.inf)
        mass = np.log((known * weights[:, None]).sum(0))
    top = np.where(usable, logs.max(0), 0.0)
    parts = np.exp(logs - top)
    total = np.where(usable, parts.sum(0), 1.0)
    logprob = np.where(usable, np.log(total) + top - np.where(usable, mass, 0.0), np.nan)
    return Sampled(logprob, parts / total, known)


def mix_top(
    scores: Sequence[TeacherScores], token_ids: npt.NDArray[np.int32], mixed: Sampled, weights: Float64, k: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32], Float64]:
    """The k largest probabilities of the mixture on the union of the members' top k and the sampled token.

    A token that every member lists, and the sampled one, is exact. To one that some members do not list these add
    nothing: what is given is then a lower bound, short of the truth by at most the sum of w_j times the smaller of the
    last probability that member j lists and its tail mass. Hence the probabilities never exceed 1 together, and the
    tail 1 - sum is an upper bound of the mixture's.

    Args:
        scores: one for each member.
        token_ids: int32 [T] of the row.
        mixed: the mixture at those tokens.
        weights: [J].
        k: how many.

    Returns:
        ids int32 [T, k] (-1 without a score), log-probabilities float32 [T, k], and float64 [T], the sum over the k of
        how much they may fall short.
    """
    length = len(token_ids)
    effective = np.where(mixed.known & mixed.valid, weights[:, None], 0.0)
    effective = effective / np.where(mixed.valid, effective.sum(0), 1.0)
    ids, parts, allowances = [], [], []
    for score, weight in zip(scores, effective, strict=True):
        assert score.topk_ids is not None and score.topk_logprobs is not None
        listed = np.isfinite(score.topk_logprobs) & (score.topk_ids >= 0) & (weight > 0)[:, None]
        probability = np.where(listed, np.exp(np.where(listed, score.topk_logprobs, 0.0).astype(np.float64)), 0.0)
        least = np.where(listed, probability, np.inf).min(1, initial=np.inf)
        rest = np.clip(1.0 - probability.sum(1), 0.0, 1.0)
        ids.append(np.where(listed, score.topk_ids, -1))
        parts.append(weight[:, None] * probability)
        allowances.append(weight * np.minimum(least, rest))
    whole = np.concatenate(ids, axis=1)
    slack = np.stack(allowances)
    covered = np.concatenate([np.broadcast_to(a[:, None], i.shape) for a, i in zip(slack, ids, strict=True)], axis=1)
    order = np.argsort(whole, axis=1, kind="stable")
    whole, values, covered = (
        np.take_along_axis(array, order, axis=1) for array in (whole, np.concatenate(parts, axis=1), covered)
    )
    first = np.ones_like(whole, dtype=bool)
    first[:, 1:] = whole[:, 1:] != whole[:, :-1]
    group = first.cumsum(1) - 1
    sums, seen = np.zeros(whole.shape), np.zeros(whole.shape)
    rows = np.arange(length)[:, None]
    np.add.at(sums, (rows, group), values)
    np.add.at(seen, (rows, group), covered)
    union = np.full(whole.shape, -1, dtype=np.int64)
    union[np.broadcast_to(rows, whole.shape)[first], group[first]] = whole[first]
    short = np.maximum(slack.sum(0)[:, None] - seen, 0.0)
    # The sampled token is known to all members, listed or not.
    sampled = np.where(mixed.valid, np.exp(np.where(mixed.valid, mixed.logprob, 0.0)), 0.0)
    own = union == token_ids[:, None]
    union = np.concatenate([np.where(own, -1, union), token_ids[:, None]], axis=1)
    sums = np.concatenate([sums, sampled[:, None]], axis=1)
    short = np.concatenate([short, np.zeros((length, 1))], axis=1)
    sums = np.where(union < 0, -1.0, sums)
    best = np.argsort(-sums, axis=1, kind="stable")[:, :k]
    chosen, value, bound = (np.take_along_axis(array, best, axis=1) for array in (union, sums, short))
    good = mixed.valid[:, None] & (chosen >= 0) & (value > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(good, np.log(value), np.nan)
    return np.where(good, chosen, -1).astype(np.int32), logs.astype(np.float32), np.where(good, bound, 0.0).sum(1)
