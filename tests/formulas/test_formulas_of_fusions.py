"""Advantages and fusions: the learner's gradient is that of the formula, over a batch told plainly."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from formula_parts import clipped, drift, episode, mean, scaled, turn, turns_of
from naive_batch import CUT, PER_TASK, SIZES, WON, Batch, Token

pytestmark = pytest.mark.oracle

OPD = {"type": "opd"}
TASKS = [[e for e in range(len(SIZES)) if e // PER_TASK == task and e != CUT] for task in (0, 1)]
"""Episodes that are compared: of one that the curriculum cut nothing is known, and its advantage is 0."""


def by_episode(values: dict[int, float]) -> list[list[float]]:
    return [[values.get(number, 0.0)] * size for number, size in enumerate(SIZES)]


def deviations(values: list[float], std: bool) -> list[float]:
    """From the mean, in sample standard deviations if asked; 0 where there is nothing to compare."""
    centre = mean(values)
    if len(values) < 2 or max(values) == min(values):
        return [0.0] * len(values)
    spread = math.sqrt(sum((v - centre) ** 2 for v in values) / (len(values) - 1)) + 1e-6
    return [(v - centre) / (spread if std else 1.0) for v in values]


def grpo(batch: Batch, std: bool) -> list[list[float]]:
    total = [float(r.sum()) for r in batch.rewards]
    compared = [dict(zip(task, deviations([total[i] for i in task], std), strict=True)) for task in TASKS]
    return by_episode({i: a for task in compared for i, a in task.items()})


def rloo(batch: Batch) -> list[list[float]]:
    total = [float(r.sum()) for r in batch.rewards]
    return by_episode({i: total[i] - mean(total[j] for j in task if j != i) for task in TASKS for i in task})


def gigpo(batch: Batch, std: bool, episodes: float) -> list[list[float]]:
    found = [[episodes * a for a in own] for own in grpo(batch, std)]
    for task in TASKS:
        anchors: dict[str, list[tuple[int, int, float]]] = {}
        for i in task:
            for k, step in enumerate(batch.episodes[i].steps):
                to_go = sum(0.95 ** (j - k) * float(batch.rewards[i][j]) for j in range(k, SIZES[i]))
                anchors.setdefault(step.observation, []).append((i, k, to_go))
        for met in anchors.values():
            for (i, k, _), a in zip(met, deviations([g for _, _, g in met], std), strict=True):
                found[i][k] += a
    return found


def brpo(batch: Batch, budgets: tuple[int, ...]) -> list[list[float]]:
    """Scores after b turns, equal weights, exponentially weighted past against the task's mean."""
    size = len(budgets)
    score = [[float(r[:b].sum()) for b in budgets] for r in batch.rewards]
    found = [[0.0] * n for n in SIZES]
    for task in TASKS:
        for i in task:
            for k in range(SIZES[i]):
                s = next((n for n, b in enumerate(budgets) if b > k), None)
                if s is None:
                    continue
                reach = {j: sum(score[j][s:]) / size for j in task}
                weight = sum(2**n for n in range(s))
                past = sum(2**n * score[i][n] for n in range(s)) / weight * (size - s) / size if s else 0.0
                found[i][k] = reach[i] - (s * past + (size - s) * mean(reach.values())) / size
    return found


ADVANTAGES: list[tuple[dict[str, Any], Any]] = [
    ({"type": "grpo"}, lambda batch: grpo(batch, True)),
    ({"type": "grpo", "std": False}, lambda batch: grpo(batch, False)),
    ({"type": "rloo"}, rloo),
    ({"type": "gigpo"}, lambda batch: gigpo(batch, True, 1.0)),
    ({"type": "gigpo", "std": False}, lambda batch: gigpo(batch, False, 1.0)),
    ({"type": "gigpo", "episode": 0.0}, lambda batch: gigpo(batch, True, 0.0)),
    ({"type": "brpo", "budgets": [1, 2, 4]}, lambda batch: brpo(batch, (1, 2, 4))),
]


@pytest.mark.parametrize(("section", "formula"), ADVANTAGES, ids=[f"{s['type']}-{len(s)}" for s, _ in ADVANTAGES])
def test_advantages(batch, agree, section: dict[str, Any], formula: Any) -> None:
    given, expected = batch.advantages(**section), formula(batch)
    for ours, theirs in zip(given, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    tokens = batch.tokens(given)
    total = sum(clipped(t, expected[t.episode][t.turn]) for t in tokens) / len(tokens)
    agree(batch.learned(OPD, given, fusion={"type": "additive", "kd": 0.0}), total, 1e-5)


def test_both_signals_are_clipped_once(batch, agree) -> None:
    """ATOD at step 30: kappa w Delta + rho A, one ratio."""
    advantages = batch.advantages(type="grpo")
    tokens = batch.tokens(advantages)
    kappa, rho = max(0.1, 1 - 0.9 * 30 / 80), 1 + 30 / 80
    total = torch.zeros((), dtype=torch.float64)
    for t in tokens:
        turns = turns_of(tokens, t)
        d = scaled([drift(u) for u in turns], drift(turn(tokens, t)))
        h = scaled([mean(-x.old for x in u) for u in turns], mean(-x.old for x in turn(tokens, t)))
        total = total + clipped(t, kappa * (1 - (1 - d) * (1 - h)) * t.gap + rho * t.advantage) / len(tokens)
    parts = {"step_weight": [{"type": "atod"}], "fusion": {"type": "atod"}}
    agree(batch.learned(OPD, advantages, step=30, steps=150, **parts), total)


BETA = 0.2 - 3 * (0.2 - 0.002) / 9


@pytest.mark.parametrize("spare", [False, True])
def test_an_annealed_divergence_is_one_thing_as_loss_and_as_fusion(batch, agree, spare: bool) -> None:
    """KDRL at step 3 of 10: GRPO and beta k2, once with the schedule in the loss and once in the fusion."""
    advantages = batch.advantages(type="grpo")
    ways: list[dict[str, Any]] = [
        {"loss": {"type": "kdrl", "failures_only": spare}},
        {
            "loss": {"type": "opd", "gradient": "direct", "estimator": "k2"},
            "fusion": {"type": "kdrl", "spare_won": spare},
        },
    ]
    for way in ways:
        tokens = batch.tokens(advantages)
        total = torch.zeros((), dtype=torch.float64)
        for t in tokens:
            k2 = 0.0 if spare and t.won else 0.5 * (t.now - t.theirs) ** 2
            total = total + (clipped(t, t.advantage) + BETA * k2) / len(tokens)
        agree(batch.learned(advantages=advantages, **way), total)


@pytest.mark.parametrize(("sign", "scale"), [("paper", "sum"), ("released", "mean")])
def test_routed_by_outcome(batch, agree, sign: str, scale: str) -> None:
    """SCOPE: softmaxes within task and outcome; won episodes by the rewards, lost ones by the teacher."""
    advantages = batch.advantages(type="reinforce", baseline="none")
    tokens = batch.tokens(advantages)
    factor = -1.0 if sign == "paper" else 1.0

    def preference(own: list[Token]) -> float:
        return math.exp(factor * mean(x.old for x in own) if own[0].won else mean(x.theirs for x in own))

    total = torch.zeros((), dtype=torch.float64)
    for t in tokens:
        same = {x.episode for x in tokens if (x.task, x.won) == (t.task, t.won)}
        weights = {e: preference([x for x in tokens if x.episode == e]) for e in same}
        weight = weights[t.episode] / sum(weights.values()) * (len(same) if scale == "mean" else 1.0)
        total = total + clipped(t, weight * (t.advantage if t.won else t.gap)) / len(tokens)
    agree(batch.learned(OPD, advantages, fusion={"type": "scope", "student_sign": sign, "scale": scale}), total)


@pytest.mark.parametrize("rule", ["lost", "hopeless"])
def test_routed_without_weights(batch, agree, rule: str) -> None:
    """SRPO, and HDPO: no task of this batch is hopeless, so that rewards teach all."""
    advantages = batch.advantages(type="grpo")
    tokens = batch.tokens(advantages)
    hopeless = {e // PER_TASK for e in range(len(WON))} - {e // PER_TASK for e, won in enumerate(WON) if won}
    taught = [not t.won if rule == "lost" else t.task in hopeless for t in tokens]
    total = sum(clipped(t, t.gap if kd else t.advantage) for t, kd in zip(tokens, taught, strict=True)) / len(tokens)
    agree(batch.learned(OPD, advantages, fusion={"type": "srpo", "distil": rule}), total)


def test_stretched_by_the_teacher(batch, agree) -> None:
    """RLSD with lambda 0.6."""
    advantages = batch.advantages(type="grpo")
    tokens = batch.tokens(advantages)
    total = torch.zeros((), dtype=torch.float64)
    for t in tokens:
        liked = math.exp(t.gap * ((t.advantage > 0) - (t.advantage < 0)))
        total = total + clipped(t, t.advantage * (0.4 + 0.6 * min(1.2, max(0.8, liked)))) / len(tokens)
    agree(batch.learned(OPD, advantages, fusion={"type": "rlsd", "strength": 0.6}), total)


def test_stretched_by_evidence(batch, agree) -> None:
    """AgentOPSD: the turn's summed gap, standardised over the episode, with the sign of the rewards."""
    advantages = batch.advantages(type="grpo")
    tokens = batch.tokens(advantages)
    total = torch.zeros((), dtype=torch.float64)
    for t in tokens:
        evidence = [sum(x.gap for x in u) for u in turns_of(tokens, t)]
        spread = math.sqrt(mean((e - mean(evidence)) ** 2 for e in evidence))
        z = (sum(x.gap for x in turn(tokens, t)) - mean(evidence)) / spread if spread > 1e-8 else 0.0
        sign = (t.advantage > 0) - (t.advantage < 0)
        factor = 0.5 + 0.5 * min(1.2, max(0.8, 1 + 0.2 * sign * z))
        total = total + clipped(t, t.advantage * factor) / len(tokens)
    agree(batch.learned(OPD, advantages, fusion={"type": "agentopsd"}), total)


def test_stretched_by_gaps(batch, agree) -> None:
    """TRIAL: the turn's mean gap over the batch's."""
    advantages = batch.advantages(type="grpo")
    tokens = batch.tokens(advantages)
    weights = [min(2.0, max(0.5, drift(turn(tokens, t)) / drift(tokens))) for t in tokens]
    total = sum(clipped(t, w * t.advantage) for t, w in zip(tokens, weights, strict=True)) / len(tokens)
    agree(batch.learned(OPD, advantages, fusion={"type": "trial"}), total)


def test_value_times_disagreement(batch, agree) -> None:
    """TIDE before anything is handed over: beta = 0.1 and lambda = 1, Q of the step part of GiGPO."""
    advantages = batch.advantages(type="gigpo", episode=0.0)
    tokens = batch.tokens(advantages)
    total = torch.zeros((), dtype=torch.float64)
    for t in tokens:
        d = scaled([drift(u) for u in turns_of(tokens, t)], drift(turn(tokens, t)), flat=1.0)
        told = [x.advantage for x in episode(tokens, t) if x.advantage != 0]
        q = scaled(told, t.advantage, flat=1.0) if t.advantage != 0 else 1.0
        total = total + clipped(t, 0.1 * d * t.advantage + q * d * t.gap) / len(tokens)
    agree(batch.learned(OPD, advantages, fusion={"type": "tide"}), total)
