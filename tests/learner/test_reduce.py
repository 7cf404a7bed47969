"""Reductions and the weights' normaliser."""

from __future__ import annotations

import pytest
import torch

from agentdistill.errors import PluginError
from agentdistill.learner.reduce import checked_weights, effective_share, normalised, reduction_coefficients

TRAJECTORY = torch.tensor([0, 0, 0, 0, 1, 1])
TURN = torch.tensor([0, 0, 0, 2, 0, 0])  # turns of 3, 1 and 2 tokens
VALUES = torch.tensor([1.0, 2.0, 6.0, 5.0, 10.0, 20.0])


@pytest.mark.parametrize(
    ("reduction", "alpha", "expected"),
    [
        ("token-mean", 0.0, 44 / 6),
        ("turn-mean", 0.0, (3 + 5 + 15) / 3),
        ("blend", 0.25, 0.75 * 44 / 6 + 0.25 * 23 / 3),
        ("blend", 0.0, 44 / 6),
        ("blend", 1.0, 23 / 3),
    ],
)
def test_reductions_by_hand(reduction, alpha, expected):
    c = reduction_coefficients(TRAJECTORY, TURN, reduction, alpha)
    assert float((c * VALUES).sum()) == pytest.approx(expected, rel=1e-6)
    assert float(c.sum()) == pytest.approx(1.0)


def test_an_empty_branch_has_no_coefficients():
    none = torch.zeros(0, dtype=torch.int64)
    assert len(reduction_coefficients(none, none, "turn-mean", 0.5)) == 0


def test_mean1_removes_a_constant_and_none_keeps_it():
    c = reduction_coefficients(TRAJECTORY, TURN, "turn-mean", 0.0)
    weights = torch.tensor([1.0, 1.0, 1.0, 0.5, 0.2, 0.2])
    for factor in (0.01, 7.0):
        torch.testing.assert_close(normalised(factor * weights, c, "mean1"), normalised(weights, c, "mean1"))
    assert float((c * normalised(weights, c, "mean1")).sum()) == pytest.approx(1.0)
    assert normalised(weights, c, "none") is weights
    assert float(normalised(0 * weights, c, "mean1").sum()) == 0


def test_weights_are_detached_and_masked():
    mask = torch.tensor([[True, True], [True, False]])
    leaf = torch.full((2, 2), 2.0, requires_grad=True)
    used = checked_weights(leaf * torch.tensor([[1.0, 1.0], [1.0, float("nan")]]), mask.shape, mask, "w")
    assert not used.requires_grad
    assert used.tolist() == [[2.0, 2.0], [2.0, 0.0]]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (torch.ones(3), r"shape \[3\]"),
        ([1.0], "returned list"),
        (torch.tensor([[1.0, -1.0]]), "negative or non-finite"),
        (torch.tensor([[1.0, float("nan")]]), "negative or non-finite"),
        (torch.tensor([[1.0, float("inf")]]), "negative or non-finite"),
    ],
)
def test_unusable_weights_are_refused(weights, message):
    with pytest.raises(PluginError, match=message):
        checked_weights(weights, torch.Size([1, 2]), torch.ones(1, 2, dtype=torch.bool), "w")


def test_effective_share():
    assert effective_share(torch.ones(7)) == pytest.approx(1.0)
    assert effective_share(torch.tensor([1.0, 0.0, 0.0, 0.0])) == pytest.approx(0.25)
    assert effective_share(torch.zeros(3)) == 0.0
