"""Step weights, token weights, surrogates: the learner's gradient is that of the formula, over a batch told plainly."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from formula_parts import clipped, drift, episode, mean, scaled, turn, turns_of
from naive_batch import Batch, Token
from torch import Tensor

pytestmark = pytest.mark.oracle

Weigh = Callable[[Batch, list[Token]], list[float]]


def sod(floor: float = 0.0) -> Weigh:
    """Eq. 7: the product over the turns before, capped when it is used, never before."""

    def weigh(batch: Batch, tokens: list[Token]) -> list[float]:
        found = []
        for t in tokens:
            d = [drift(turn) for turn in turns_of(tokens, t) if turn[0].turn <= t.turn]
            d[0] = max(d[0], floor) if len(d) > 1 else d[0]
            product = 1.0
            for before, after in pairwise(d):
                product *= (before + 1e-6) / (after + 1e-6)
            found.append(min(product, 1.2) if len(d) > 1 else 1.0)
        return found

    return weigh


def atod(batch: Batch, tokens: list[Token]) -> list[float]:
    found = []
    for t in tokens:
        turns = turns_of(tokens, t)
        d = scaled([drift(u) for u in turns], drift(turn(tokens, t)))
        h = scaled([mean([-x.old for x in u]) for u in turns], mean([-x.old for x in turn(tokens, t)]))
        found.append(1 - (1 - d) * (1 - h))
    return found


def turn_equal(batch: Batch, tokens: list[Token]) -> list[float]:
    """Step 3 of 10: alpha = 0.3."""
    found = []
    for t in tokens:
        n = len(episode(tokens, t))
        token_share, turn_share = 1 / n, 1 / (len(turns_of(tokens, t)) * len(turn(tokens, t)))
        found.append(n * (0.7 * token_share + 0.3 * turn_share))
    return found


def sage(batch: Batch, tokens: list[Token]) -> list[float]:
    raw = []
    for t in tokens:
        verdict = batch.episodes[t.episode].steps[t.turn].info["annotations"]["judge"]
        raw.append(verdict * mean([x.confidence for x in turn(tokens, t)]))
    return [len(tokens) * x / sum(raw) for x in raw]


def prune_steps(batch: Batch, tokens: list[Token]) -> list[float]:
    found = []
    for t in tokens:
        bad = sum(mean([x.overlap for x in u]) < 0.7 for u in turns_of(tokens, t) if u[0].turn <= t.turn)
        found.append(min(1.0, max(0.0, 1 - 0.1 * bad)) + 0.5)
    return found


def spent(scope: Callable[[list[Token], Token], list[Token]]) -> Weigh:
    """IW-OPD by tokens: what was spent before the token, of all of its response or episode."""

    def weigh(batch: Batch, tokens: list[Token]) -> list[float]:
        found = []
        for t in tokens:
            own = scope(tokens, t)
            before = own[: next(i for i, x in enumerate(own) if x is t)]
            found.append(1 + 0.5 * (1 - sum(abs(x.gap) for x in before) / sum(abs(x.gap) for x in own)))
        return found

    return weigh


def iw_steps(batch: Batch, tokens: list[Token]) -> list[float]:
    found = []
    for t in tokens:
        own = episode(tokens, t)
        before = sum(abs(x.gap) for x in own if x.turn < t.turn)
        found.append(1 + 0.5 * (1 - before / sum(abs(x.gap) for x in own)))
    return found


def cord(batch: Batch, tokens: list[Token]) -> list[float]:
    found = []
    for t in tokens:
        own = turn(tokens, t)
        place = next(i for i, x in enumerate(own) if x is t)
        larger = sum(abs(x.gap) > abs(t.gap) for x in own)
        found.append((2.0 if larger < 2 else 1.0) * (2 - (place / (len(own) - 1) if len(own) > 1 else 0.0)))
    return found


def tip(batch: Batch, tokens: list[Token]) -> list[float]:
    h = [scaled([x.old_entropy for x in tokens], t.old_entropy) for t in tokens]
    d = [scaled([abs(x.gap) for x in tokens], abs(t.gap)) for t in tokens]
    score = [a + b - a * b for a, b in zip(h, d, strict=True)]
    least = sorted(score, reverse=True)[math.ceil(len(score) / 2) - 1]
    return [float(s >= least) for s in score]


def prune_tokens(batch: Batch, tokens: list[Token]) -> list[float]:
    found = []
    for t in tokens:
        own = turn(tokens, t)
        bad = sum(x.overlap < 0.7 for x in own[: next(i for i, x in enumerate(own) if x is t) + 1])
        found.append(1 - 0.01 * bad + 0.5)
    return found


WEIGHTS: list[tuple[str, dict[str, Any], Weigh]] = [
    ("step_weight", {"type": "sod"}, sod()),
    ("step_weight", {"type": "sod", "first_floor": 0.5}, sod(0.5)),
    ("step_weight", {"type": "atod"}, atod),
    ("step_weight", {"type": "turn-equal"}, turn_equal),
    ("step_weight", {"type": "sage"}, sage),
    ("step_weight", {"type": "prune"}, prune_steps),
    ("step_weight", {"type": "iw-opd"}, iw_steps),
    ("token_weight", {"type": "cord", "top_k": 2}, cord),
    ("token_weight", {"type": "iw-opd"}, spent(turn)),
    ("token_weight", {"type": "iw-opd", "scope": "episode"}, spent(episode)),
    ("token_weight", {"type": "tip", "clip": 1.0}, tip),
    ("token_weight", {"type": "prune"}, prune_tokens),
    (
        "token_weight",
        {"type": "tsd-kd"},
        lambda batch, tokens: [1 / (1 + math.exp(t.teacher_entropy - t.old_entropy)) for t in tokens],
    ),
    ("token_weight", {"type": "teacher-confidence"}, lambda batch, tokens: [t.confidence for t in tokens]),
]


@pytest.mark.parametrize(("kind", "section", "weigh"), WEIGHTS, ids=[f"{k}-{i}" for i, (k, _, _) in enumerate(WEIGHTS)])
def test_weights(batch, agree, kind: str, section: dict[str, Any], weigh: Weigh) -> None:
    tokens = batch.tokens()
    weights = weigh(batch, tokens)
    total = sum(w * clipped(t, t.gap) for w, t in zip(weights, tokens, strict=True)) / len(tokens)
    agree(batch.learned({"type": "opd"}, **{kind: [section]}), total)
    tokens = batch.tokens()
    total = sum(w / mean(weights) * clipped(t, t.gap) for w, t in zip(weights, tokens, strict=True)) / len(tokens)
    agree(batch.learned({"type": "opd"}, **{kind: [section]}, optim={"weight_norm": "mean1"}), total)


def test_weights_multiply_and_are_normalised_once(batch, agree) -> None:
    """Two token weights under a mean over turns, with a weighted mean of 1."""
    tokens = batch.tokens()
    turns = {(t.episode, t.turn) for t in tokens}
    share = [1 / (len(turns) * len(turn(tokens, t))) for t in tokens]
    weight = [t.confidence / (1 + math.exp(t.teacher_entropy - t.old_entropy)) for t in tokens]
    scale = sum(s * w for s, w in zip(share, weight, strict=True))
    total = sum(s * w / scale * clipped(t, t.gap) for s, w, t in zip(share, weight, tokens, strict=True))
    sections = [{"type": "tsd-kd"}, {"type": "teacher-confidence"}]
    optim = {"weight_norm": "mean1", "reduction": "turn-mean"}
    agree(batch.learned({"type": "opd"}, token_weight=sections, optim=optim), total)


def truncated(t: Token, advantage: float, floor: float, cap: float, drop: bool) -> Tensor:
    ratio = math.exp(float(t.now.detach()) - t.old)
    kept = min(max(ratio, floor), cap)
    return -(0.0 if drop and kept != ratio else kept) * advantage * torch.exp(t.now - t.now.detach())


def one_sided(t: Token, advantage: float) -> Tensor:
    fell = math.exp(float(t.now.detach())) - math.exp(t.old) < -0.02
    return -(0.0 if fell else advantage) * torch.exp(t.now - t.old) + 1e-3 * (t.now - t.old) ** 2


def trrd(t: Token, advantage: float) -> Tensor:
    ratio = torch.exp(0.3 * (t.now - t.old) + 0.7 * (t.now - t.theirs))
    return torch.maximum(-ratio * advantage, -ratio.clamp(0.8, 1.2) * advantage)


SURROGATES: list[tuple[dict[str, Any], Callable[[Token, float], Tensor]]] = [
    ({"type": "ppo", "clip_high": 0.28, "dual_clip": False}, lambda t, a: clipped(t, a, 0.2, 0.28, None)),
    ({"type": "importance-sampling"}, lambda t, a: -torch.exp(t.now - t.old) * a),
    ({"type": "reinforce"}, lambda t, a: -a * torch.exp(t.now - t.now.detach())),
    ({"type": "truncated", "cap": 1.1}, lambda t, a: truncated(t, a, 0.0, 1.1, False)),
    (
        {"type": "truncated", "cap": 1.2, "floor": 0.8, "outside": "drop"},
        lambda t, a: truncated(t, a, 0.8, 1.2, True),
    ),
    ({"type": "trust-region", "radius": 0.02}, one_sided),
    ({"type": "trrd", "alpha": 0.3}, trrd),
]


@pytest.mark.parametrize(("section", "value"), SURROGATES, ids=[str(s["type"]) for s, _ in SURROGATES])
def test_surrogates(batch, agree, section: dict[str, Any], value: Callable[[Token, float], Tensor]) -> None:
    """For what the teacher says, and for what the rewards say of the same tokens."""
    tokens = batch.tokens()
    agree(batch.learned({"type": "opd"}, surrogate=section), sum(value(t, t.gap) for t in tokens) / len(tokens))
    advantages = batch.advantages(type="grpo")
    tokens = batch.tokens(advantages)
    alone = {"type": "additive", "kd": 0.0}
    total = sum(value(t, t.advantage) for t in tokens) / len(tokens)
    agree(batch.learned({"type": "opd"}, advantages, surrogate=section, fusion=alone), total)


def test_the_rewards_are_clipped_as_the_loss_says_where_the_teacher_is_switched_off(batch, agree) -> None:
    advantages = batch.advantages(type="grpo")
    tokens = batch.tokens(advantages)
    total = sum(clipped(t, t.advantage, 0.05, 0.05, 1.5) for t in tokens) / len(tokens)
    loss = {"type": "opd", "ratio_clip": 0.05, "dual_clip": 1.5}
    agree(batch.learned(loss, advantages, fusion={"type": "switch", "at": 0}), total)


def test_bounds_that_adapt(batch, agree) -> None:
    """BAPO's search, step by step: up by 0.05 to 3, then the lower bound by 0.02 to 0.9, until gains are a share."""
    tokens = batch.tokens()
    for target in (0.05, 0.15, 0.4, 0.9):
        low, high = 0.6, 1.2

        def share(low: float, high: float) -> float:
            # The batch is fresh to the search: with one update every ratio is 1.
            mass = [(abs(t.gap), t.gap > 0) for t in tokens]
            return sum(m for m, gain in mass if gain) / sum(m for m, _ in mass)

        while share(low, high) < target and (high < 3.0 - 1e-9 or low < 0.9 - 1e-9):
            if high < 3.0 - 1e-9:
                high += 0.05
            else:
                low += 0.02
        told = batch.tokens()
        total = sum(clipped(t, t.gap, 1 - low, high - 1) for t in told) / len(told)
        agree(batch.learned({"type": "opd"}, surrogate={"type": "bapo", "target": target}), total)
