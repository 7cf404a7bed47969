"""BRPO over budgets of turns."""

from __future__ import annotations

import numpy as np
import pytest
from made_rewarded import rewarded
from pydantic import ValidationError

from agentdistill_advantages.brpo import BrpoConfig, brpo
from agentdistill_advantages.grpo import GrpoConfig, grpo

pytestmark = pytest.mark.oracle


def naive(batch, budgets, weights):
    """The formula of the page, with loops."""
    size, total = len(budgets), sum(weights)
    weights = [w / total for w in weights]
    score = [[float(sum(r[:b])) for b in budgets] for r in batch.rewards]
    result = [np.zeros(len(t.steps)) for t in batch.trajectories]
    for number in np.unique(batch.group):
        members = np.flatnonzero(batch.group == number)
        reach = {i: [sum(weights[j] * score[i][j] for j in range(s, size)) for s in range(size)] for i in members}
        for i in members:
            for t in range(len(result[i])):
                if t >= budgets[-1]:
                    continue
                s = next(s for s, b in enumerate(budgets) if t < b)
                past = sum(2**j * score[i][j] for j in range(s)) / sum(2**j for j in range(s)) if s else 0.0
                own = past * sum(weights[s:])
                common = sum(reach[k][s] for k in members) / len(members)
                result[i][t] = reach[i][s] - (s * own + (size - s) * common) / size
    return result


def test_against_the_formula():
    rng = np.random.default_rng(0)
    groups = [[rng.random(rng.integers(1, 12)).tolist() for _ in range(4)] for _ in range(3)]
    batch = rewarded(*groups)
    for budgets, weights in (((2, 4, 8), (1, 1, 1)), ((1, 3), (1, 5)), ((3, 5, 6, 9), (0, 1, 2, 3))):
        got = brpo(batch, BrpoConfig(budgets=budgets, weights=weights))
        for a, b in zip(got, naive(batch, budgets, weights), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)


def test_one_budget_that_nobody_exceeds_is_grpo_without_std():
    batch = rewarded([[0, 1], [0, 0, 0], [0, 0, 0.5]], [[1], [0]])
    for a, b in zip(brpo(batch, BrpoConfig(budgets=(3,))), grpo(batch, GrpoConfig(std=False)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)


def test_the_faster_win_is_better():
    batch = rewarded([[0, 1], [0, 0, 0, 1], [0, 0, 0, 0]])
    got = brpo(batch, BrpoConfig(budgets=(2, 4)))
    assert got[0][0] > got[1][0] > got[2][0]
    assert got[0][0] == pytest.approx(1 - 0.5) and got[1][0] == pytest.approx(0.5 - 0.5)
    # From the third turn on: 0.5 can still be reached, its own past says 0, the group's mean is 1/3.
    assert got[1][2] == pytest.approx(0.5 - (0.5 * 0 + 0.5 * (1 / 3)))


def test_equal_episodes_are_exactly_nothing_at_the_first_budget():
    got = brpo(rewarded([[0.1, 0.1]] * 3), BrpoConfig(budgets=(1, 2)))
    assert all(a[0] == 0 for a in got)


def test_turns_past_the_last_budget_get_nothing():
    got = brpo(rewarded([[0, 0, 1], [0, 0, 0]]), BrpoConfig(budgets=(1, 2)))
    assert all(a[2] == 0 for a in got)


def test_budgets_are_checked():
    for wrong in (
        {"budgets": (4, 2)},
        {"budgets": ()},
        {"budgets": (0, 2)},
        {"budgets": (1, 2), "weights": (1,)},
        {"budgets": (1, 2), "weights": (0, 0)},
        {"budgets": (1, 2), "weights": (-1, 2)},
    ):
        with pytest.raises(ValidationError):
            BrpoConfig.model_validate(wrong)
