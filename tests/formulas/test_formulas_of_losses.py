"""Losses: the learner's gradient is that of the formula, over a batch told plainly."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from formula_parts import clipped, entropy, episode, forward_kl, mean, reverse_kl, top, turn, turns_of, with_rest
from naive_batch import Token
from torch import Tensor

pytestmark = pytest.mark.oracle

DIVERGENCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "reverse-kl": lambda q, p: (q * (q / p).log()).sum(),
    "forward-kl": lambda q, p: (p * (p / q).log()).sum(),
    "jsd": lambda q, p: (
        0.3 * (p * (p / (0.3 * p + 0.7 * q)).log()).sum() + 0.7 * (q * (q / (0.3 * p + 0.7 * q)).log()).sum()
    ),
    "skew-kl": lambda q, p: (p * (p / (0.1 * p + 0.9 * q)).log()).sum(),
    "skew-reverse-kl": lambda q, p: (q * (q / (0.9 * p + 0.1 * q)).log()).sum(),
    "total-variation": lambda q, p: 0.5 * (p - q).abs().sum(),
    "chi-square": lambda q, p: ((p - q) ** 2 / q).sum(),
    "alpha": lambda q, p: ((p**0.5 * q**0.5).sum() - 1) / (0.5 * (0.5 - 1)),
}


@pytest.mark.parametrize("tail", ["bucket", "renormalise"])
@pytest.mark.parametrize("support", ["full", "teacher-topk", "student-topk"])
@pytest.mark.parametrize("name", sorted(DIVERGENCES))
def test_divergences(batch, agree, name: str, support: str, tail: str) -> None:
    """Temperature 2 where it is possible: the teacher's tail is known at temperature 1 only."""
    if support == "full" and tail == "renormalise":
        tail = "bucket"
    heat = 1.0 if (support, tail) == ("teacher-topk", "bucket") else 2.0
    tokens = batch.tokens()
    total = torch.zeros((), dtype=torch.float64)
    for t in tokens:
        q, p = ((x / heat).softmax(-1) for x in (t.student, t.teacher))
        if support != "full":
            ids = top(p if support == "teacher-topk" else q, 5)
            if tail == "bucket":
                q, p = (torch.cat([x[ids], 1 - x[ids].sum()[None]]) for x in (q, p))
            else:
                q, p = (x[ids] / x[ids].sum() for x in (q, p))
        total = total + DIVERGENCES[name](q, p) / len(tokens)
    options = {} if support == "full" else {"k": 5, "tail": tail}
    loss = {"type": "opd", "divergence": name, "support": support, "beta": 0.3, "temperature": heat, **options}
    agree(batch.learned(loss), total)


F: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "reverse-kl": (lambda u: -u.log(), 20.0),
    "forward-kl": (lambda u: u * u.log(), 20.0),
    "chi-square": (lambda u: (u - 1) ** 2, 20.0),
    "total-variation": (lambda u: 0.5 * (u - 1).abs(), 20.0),
    "jsd": (lambda u: 0.5 * u * (u / (0.5 * u + 0.5)).log() - 0.5 * (0.5 * u + 0.5).log(), 20.0),
    "alpha": (lambda u: (u**0.5 - 0.5 * u - 0.5) / (0.5 * -0.5), 20.0),
    "skew-kl": (lambda u: u * (u / (0.1 * u + 0.9)).log(), 20.0),
    "skew-reverse-kl": (lambda u: -(0.9 * u + 0.1).log(), 20.0),
}


@pytest.mark.parametrize("name", sorted(F))
def test_policy_gradients_of_a_general_f(batch, agree, name: str) -> None:
    """A = -f(u) + u f'(u), less its value at u = 1; the derivative is automatic."""
    f, bound = F[name]

    def weight(ratio: float) -> float:
        u = torch.tensor(ratio, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(f(u), u)
        return float((-f(u) + u * slope).detach())

    baseline = 0.0 if name == "total-variation" else weight(1.0)
    tokens = batch.tokens()
    advantages = [min(bound, max(-bound, weight(math.exp(t.gap)) - baseline)) for t in tokens]
    total = sum(clipped(t, a) for t, a in zip(tokens, advantages, strict=True)) / len(tokens)
    agree(batch.learned({"type": "f-pg", "divergence": name}), total)


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("until", ["turn", "episode"])
def test_discounted_future(batch, agree, until: str, normalised: bool) -> None:
    tokens = batch.tokens()
    total = torch.zeros((), dtype=torch.float64)
    for t in tokens:
        own = (turn if until == "turn" else episode)(tokens, t)
        rest = own[next(i for i, x in enumerate(own) if x is t) :]
        advantage = sum(0.9**i * x.gap for i, x in enumerate(rest))
        if normalised:
            advantage /= sum(0.9**i for i in range(len(rest)))
        total = total + clipped(t, min(20.0, max(-20.0, advantage))) / len(tokens)
    agree(batch.learned({"type": "future-kl", "until": until, "normalised": normalised}), total)


def k3(t: Token) -> Tensor:
    return torch.exp(t.theirs - t.now) - 1 + (t.now - t.theirs)


def opsd(t: Token) -> Tensor:
    return (t.teacher.exp() * (t.teacher - t.student)).clamp(max=0.05).sum()


def soft_log(t: Token) -> Tensor:
    return clipped(t, math.copysign(math.log(1 + abs(t.gap)), t.gap))


def forward_outside(t: Token) -> Tensor:
    """TrOPD, k = 6."""
    trust, ids = min(math.exp(t.gap), 1.0), top(t.teacher, 6)
    outside = forward_kl(with_rest(t.student, ids), with_rest(t.teacher, ids))
    return trust * clipped(t, t.gap) + (1 - trust) * outside


def forward_where_undecided(t: Token) -> Tensor:
    """EOPD, k = 6, threshold 2.99 nats."""
    ids = top(t.teacher, 6)
    more = forward_kl(with_rest(t.student, ids), with_rest(t.teacher, ids))
    return clipped(t, t.gap) + (more if t.teacher_entropy > 2.99 else 0.0 * more)


def curious(t: Token) -> Tensor:
    start = float(entropy(t.teacher))
    goal, low, high = start + 0.5 / (1 + math.exp(-2 * (start - 1.2))), 1.1, 1.5
    for _ in range(20):
        middle = (low + high) / 2
        short = float(entropy((t.teacher / middle).log_softmax(-1))) < goal
        low, high = (middle, high) if short else (low, middle)
    target = float((t.teacher * 2 / (low + high)).log_softmax(-1)[t.token_id])
    return -t.now + 0.5 * (t.now - target) ** 2


def control_variate(k: int | None) -> Callable[[Token], Tensor]:
    """vOPD; `k` is that of the released baseline, renormalised on the student's favourites."""

    def value(t: Token) -> Tensor:
        q, p = t.student.detach(), t.teacher
        ids = torch.arange(len(q)) if k is None else top(q, k)
        baseline = float(reverse_kl(q[ids].log_softmax(-1), p[ids].log_softmax(-1)))
        advantage = float(p[t.token_id] - q[t.token_id]) + baseline
        ratio = min(math.exp(float(q[t.token_id]) - t.old), 10.0)
        return -ratio * advantage * (1 + t.now - t.now.detach())

    return value


def bridge(divergence: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Token], Tensor]:
    """Veto at step 3 of 10: beta = 0.8 (1 - 0.3)."""
    return lambda t: divergence(t.student, (t.teacher + 0.56 * t.student.detach()).log_softmax(-1))


BETA = 0.2 - 3 * (0.2 - 0.002) / 9
BY_TOKEN: dict[str, tuple[dict[str, Any], Callable[[Token], Tensor]]] = {
    "k1": ({"type": "opd"}, lambda t: clipped(t, t.gap)),
    "k2": ({"type": "opd", "gradient": "direct", "estimator": "k2"}, lambda t: 0.5 * (t.now - t.theirs) ** 2),
    "k3": ({"type": "opd", "divergence": "forward-kl", "gradient": "direct", "estimator": "k3"}, k3),
    "soft-log": ({"type": "soft-log"}, soft_log),
    "exopd": ({"type": "exopd"}, lambda t: clipped(t, 1.25 * (t.theirs - t.first) - (t.old - t.first))),
    "stableopd": ({"type": "stableopd", "beta": 0.3}, lambda t: clipped(t, t.gap - 0.3 * (t.old - t.first))),
    "opsd": ({"type": "opsd"}, opsd),
    "tropd": ({"type": "tropd", "k": 6}, forward_outside),
    "eopd": ({"type": "eopd", "threshold": 2.99, "k": 6}, forward_where_undecided),
    "curiosft": ({"type": "curiosft"}, curious),
    "vopd": ({"type": "vopd"}, control_variate(None)),
    "vopd-topk": ({"type": "vopd", "baseline": "topk", "k": 5}, control_variate(5)),
    "veto": ({"type": "veto"}, bridge(forward_kl)),
    "veto-reverse": ({"type": "veto", "divergence": "reverse-kl"}, bridge(reverse_kl)),
    "kdrl": ({"type": "kdrl"}, lambda t: BETA * 0.5 * (t.now - t.theirs) ** 2),
}


@pytest.mark.parametrize("name", sorted(BY_TOKEN))
def test_losses_of_one_token(batch, agree, name: str) -> None:
    loss, value = BY_TOKEN[name]
    tokens = batch.tokens()
    # The teacher's own tail is 1 less a sum of float32 numbers.
    rounding = 1e-5 if name in ("tropd", "eopd") else 1e-6
    agree(batch.learned(loss), sum(value(t) for t in tokens) / len(tokens), rounding)


def test_the_threshold_of_undecided_teachers_is_among_the_batch_s_entropies(batch) -> None:
    above = [t.teacher_entropy > 2.99 for t in batch.tokens()]
    assert any(above) and not all(above)


@pytest.mark.parametrize("step", [1, 6])
def test_relaxed_rewards(batch, agree, step: int) -> None:
    """REOPOLD: above the floor first, then the half of highest entropy; means over the selected tokens."""
    floor, tokens = math.log(0.2 / 0.8), batch.tokens()
    ordered = sorted((t.old_entropy for t in tokens), reverse=True)
    least = ordered[math.ceil(len(tokens) / 2) - 1]
    chosen = [t for t in tokens if (t.gap >= floor if step < 5 else t.old_entropy >= least)]
    assert 0 < len(chosen) < len(tokens)
    total = sum(clipped(t, len(tokens) / len(chosen) * max(t.gap, floor)) for t in chosen) / len(tokens)
    agree(batch.learned({"type": "reopold"}, step=step), total)


@pytest.mark.parametrize("released", [False, True])
def test_dual_distillation(batch, agree, released: bool) -> None:
    """TSD-KD: weighted JSD everywhere, the ranking in the opening, entropy where the student wavers."""
    tokens = batch.tokens()
    total = torch.zeros((), dtype=torch.float64)
    for t in tokens:
        own = turn(tokens, t)
        place, entropies = next(i for i, x in enumerate(own) if x is t), [x.old_entropy for x in own]
        q, p = t.student.exp(), t.teacher.exp()
        m = 0.9 * p + 0.1 * q
        direct = 0.9 * (p * (p / m).log()).sum() + 0.1 * (q * (q / m).log()).sum()
        value = torch.sigmoid(entropy(t.student.detach()) - entropy(t.teacher)) * direct
        opening = [sum(entropies[:i]) < 0.1 * sum(entropies) for i in range(len(own))]
        if opening[place]:
            listed = sorted(top(t.student, 10).tolist(), key=lambda token: -float(t.teacher[token]))
            for i, token in enumerate(listed):
                among = listed[: i + 1] if released else listed[i:]
                ranking = torch.logsumexp(t.student[among], 0) - t.student[token]
                value = value + 0.1 * ranking * len(own) / sum(opening)
        count = max(1, round(0.1 * len(own)))
        if sum(e > t.old_entropy for e in entropies) < count:
            value = value + 0.1 * entropy(t.student) * len(own) / count
        total = total + value / len(tokens)
    ranking = "released" if released else "plackett-luce"
    agree(batch.learned({"type": "tsd-kd", "ranking": ranking}), total)


def test_graphs_of_responses(batch, agree) -> None:
    """InfiGFusion: the explicit graph of each turn, for all of its tokens."""
    tokens = batch.tokens()
    total = torch.zeros((), dtype=torch.float64)
    for t in tokens:
        features = []
        for side in ("student", "teacher"):
            kept = [getattr(x, side)[top(getattr(x, side), 10)].log_softmax(-1) + math.log(10) for x in turn(tokens, t)]
            graph = torch.stack([z[:, None] * z[None, :] for z in kept]).mean(0)
            features.append(graph.mean(1).sort().values)
        distance = (features[0] - features[1]).square().sum() / (10 + features[1].square().sum())
        total = total + (reverse_kl(t.student, t.teacher) + 0.1 * distance) / len(tokens)
    agree(batch.learned({"type": "infigfusion"}), total)


@pytest.mark.parametrize("side", ["both", "up", "down"])
def test_calibrated_margins(batch, agree, side: str) -> None:
    """Uni-OPD with a margin of 1.5, which one task misses on the mean."""
    tokens = batch.tokens()
    value = {t.episode: mean(x.gap for x in episode(tokens, t)) for t in tokens}
    total = torch.zeros((), dtype=torch.float64)
    for t in tokens:
        rivals = {x.episode: x.won for x in tokens if x.task == t.task and not x.cut}
        high, low = (mean(value[e] for e, won in rivals.items() if won == side_) for side_ in (True, False))
        missing = max(0.0, 1.5 - (high - low))
        shift = 0.0 if t.cut else missing * {"up": t.won, "down": t.won - 1.0, "both": 0.5 if t.won else -0.5}[side]
        total = total + clipped(t, t.gap + shift) / len(tokens)
    agree(batch.learned({"type": "uni-opd", "margin": 1.5, "side": side}), total)


def mean_log_probabilities(tokens: list[Token]) -> dict[int, Tensor]:
    """By episode, under the student as it is."""
    return {t.episode: torch.stack([x.now for x in episode(tokens, t)]).mean() for t in tokens}


def test_negatives_and_contrast_are_learned_from_the_policy_that_played(batch) -> None:
    """REDI and the contrast take their slopes at the behaviour policy, through PPO's clip."""
    tokens = batch.tokens()
    old = {t.episode: mean(x.old for x in episode(tokens, t)) for t in tokens if not t.cut}
    won = {t.episode: t.won for t in tokens}
    score = {e: torch.tensor(s, dtype=torch.float64, requires_grad=True) for e, s in old.items()}
    good, bad = ([score[e] for e in score if won[e] == side] for side in (True, False))
    redi = -sum(good) / len(good) + 0.8 * sum(bad) / len(bad)
    contrast = torch.zeros((), dtype=torch.float64)
    task = {t.episode: t.task for t in tokens}
    for e in score:
        if won[e]:
            against = [score[x] for x in score if task[x] == task[e] and not won[x]]
            contrast = contrast - torch.log(score[e].exp() / (score[e].exp() + sum(x.exp() for x in against)))
    for name, formula in (("redi", redi), ("qcrd", contrast / len(good))):
        slopes = dict(zip(score, torch.autograd.grad(formula, list(score.values()), retain_graph=True), strict=True))
        told = batch.tokens()
        told_of = [t for t in told if not t.cut]
        total = sum(clipped(t, -float(slopes[t.episode]) / len(episode(told, t)) * len(told)) for t in told_of)
        value, gradient = batch.expected(total / len(told))
        learned = batch.learned({"type": name})
        assert float((learned[1] - gradient).norm()) <= 1e-6 * float(gradient.norm())
        assert learned[0] == pytest.approx(value, rel=1e-5)


def test_every_turn_is_told_in_order(batch) -> None:
    """The plain telling itself: turns and episodes as they were played."""
    tokens = batch.tokens()
    for number, played in enumerate(batch.episodes):
        own = [t for t in tokens if t.episode == number]
        assert [len(u) for u in turns_of(tokens, own[0])] == [s.end - s.start for s in played.steps]
        assert [t.token_id for t in own] == played.rows[0].token_ids[played.rows[0].mask].tolist()
