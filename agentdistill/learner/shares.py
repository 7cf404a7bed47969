"""Who owns a batch: which depths, which episodes, which teachers its signal comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from agentdistill.learner.statistics import TokenStatistics
from agentdistill.learner.terms import Term

DEPTHS = {"1": (0, 0), "2": (1, 1), "3-4": (2, 3), "5-8": (4, 7), "9-16": (8, 15), "17+": (16, 10**9)}
"""Buckets of turns, as people count them, with the turn indices they hold, from and to."""


def depth_shares(tokens: TokenStatistics, terms: Sequence[Term], values: Mapping[str, Tensor]) -> dict[str, float]:
    """What each bucket of turns contributes to the loss.

    A token's part is the size of what it adds to the reduced loss, |coefficient x value|, summed over the terms: a long
    first turn can own a batch that looks deep.

    Args:
        tokens: the N distilled tokens.
        terms: what the loss was made of.
        values: per-token losses by the names of the terms.

    Returns:
        For each bucket with a token, `depth/<bucket>/loss_share` and `depth/<bucket>/token_share`; no loss share where
        the loss is 0.
    """
    if not len(tokens):
        return {}
    parts = torch.zeros(len(tokens), dtype=torch.float64)
    for term in terms:
        parts += (term.coefficients * values[term.name]).double().abs()
    total = float(parts.sum())
    shares: dict[str, float] = {}
    for name, (first, last) in DEPTHS.items():
        inside = (tokens.turn >= first) & (tokens.turn <= last)
        if not bool(inside.any()):
            continue
        shares[f"depth/{name}/token_share"] = float(inside.double().mean())
        if total > 0:
            shares[f"depth/{name}/loss_share"] = float(parts[inside].sum()) / total
    return shares


def teacher_shares(source: Tensor, gradient: Tensor, members: Sequence[str]) -> dict[str, float]:
    """What each of several teachers contributes to a batch.

    Args:
        source: int64 [N], which teacher scored each distilled token; -1 unknown.
        gradient: float32 [N], length of the loss's gradient at the state that predicts each token.
        members: their names, in the order that `source` counts in.

    Returns:
        For each teacher `teacher/share/NAME`, its share of the distilled tokens, and `teacher/gradient/NAME`, its share
        of the summed gradient lengths; no share of the gradient where that is 0.
    """
    shares: dict[str, float] = {}
    total = float(gradient.double().sum())
    for number, name in enumerate(members):
        mine = source == number
        shares[f"teacher/share/{name}"] = float(mine.double().mean())
        if total > 0:
            shares[f"teacher/gradient/{name}"] = float(gradient[mine].double().sum()) / total
    return shares


def episode_shares(lengths: Tensor) -> dict[str, float]:
    """Share of the largest episode.

    Args:
        lengths: float64 [episodes], distilled tokens of each, at least one above 0.
    """
    return {"episodes/max_share": float(lengths.max() / lengths.sum())}
