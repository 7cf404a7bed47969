"""Divergences: formulas, limits, and gradients against automatic differentiation."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from agentdistill.learner.losses import divergence_with_gradient
from agentdistill_losses.divergences import ForwardKL, GeneralisedJSD, ReverseKL, generalised_jsd

BETAS = [0.0, 0.1, 0.5, 0.9, 1.0]


def pair(seed: int = 0, rows: int = 7, vocab: int = 31, scale: float = 2.0):
    g = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(2, rows, vocab, generator=g, dtype=torch.float64)
    return logits[0], logits[1].log_softmax(-1)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("seed", range(3))
def test_analytic_gradient_is_that_of_automatic_differentiation(beta, seed):
    logits, teacher = pair(seed)
    divergence = generalised_jsd(beta)
    leaf = logits.clone().requires_grad_()
    expected = divergence(leaf.log_softmax(-1), teacher)
    (slope,) = torch.autograd.grad(expected.sum(), leaf)
    value, grad = divergence.with_gradient(logits.log_softmax(-1), teacher.clone())
    torch.testing.assert_close(value, expected.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(grad, slope, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("beta", BETAS)
def test_a_divergence_without_gradient_gets_one(beta):
    logits, teacher = pair(1)
    divergence = generalised_jsd(beta)
    value, grad = divergence_with_gradient(lambda s, t: divergence(s, t), logits.log_softmax(-1), teacher)
    expected, slope = divergence.with_gradient(logits.log_softmax(-1), teacher.clone())
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(grad, slope)


def test_endpoints_are_torchs_kl_div():
    logits, teacher = pair(2)
    student = logits.log_softmax(-1)
    forward = F.kl_div(student, teacher, reduction="none", log_target=True).sum(-1)
    reverse = F.kl_div(teacher, student, reduction="none", log_target=True).sum(-1)
    torch.testing.assert_close(generalised_jsd(0.0)(student, teacher), forward)
    torch.testing.assert_close(generalised_jsd(1.0)(student, teacher), reverse)
    assert isinstance(generalised_jsd(0.0), ForwardKL) and isinstance(generalised_jsd(1.0), ReverseKL)


@pytest.mark.parametrize("beta", [0.1, 0.5, 0.7])
def test_interior_is_the_mixture_form_of_gkd(beta):
    logits, teacher = pair(3)
    student = logits.log_softmax(-1)
    mixture = (beta * teacher.exp() + (1 - beta) * student.exp()).log()
    expected = beta * F.kl_div(mixture, teacher, reduction="none", log_target=True).sum(-1)
    expected = expected + (1 - beta) * F.kl_div(mixture, student, reduction="none", log_target=True).sum(-1)
    torch.testing.assert_close(generalised_jsd(beta)(student, teacher), expected)


def test_half_is_symmetric_and_bounded_by_log_two():
    logits, teacher = pair(4, scale=8.0)
    student = logits.log_softmax(-1)
    jsd = generalised_jsd(0.5)
    torch.testing.assert_close(jsd(student, teacher), jsd(teacher, student))
    assert float(jsd(student, teacher).max()) <= math.log(2)
    # Nearly disjoint distributions come near the bound.
    apart = torch.tensor([[40.0, 0.0], [0.0, 40.0]], dtype=torch.float64).log_softmax(-1)
    assert float(jsd(apart[:1], apart[1:])) == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.parametrize("beta", BETAS)
def test_zero_exactly_when_equal(beta):
    logits, teacher = pair(5)
    student = logits.log_softmax(-1)
    divergence = generalised_jsd(beta)
    assert float(divergence(student, student).abs().max()) < 1e-14
    _, grad = divergence.with_gradient(student.clone(), student.clone())
    assert float(grad.abs().max()) < 1e-14
    assert float(divergence(student, teacher).min()) > 1e-3


def test_interior_vanishes_toward_the_ends_and_rescaled_it_does_not():
    logits, teacher = pair(6)
    student = logits.log_softmax(-1)
    for beta, end in ((1e-6, ForwardKL()), (1 - 1e-6, ReverseKL())):
        value = GeneralisedJSD(beta)(student, teacher)
        assert float(value.max()) < 1e-4
        torch.testing.assert_close(value / (beta * (1 - beta)), end(student, teacher), rtol=1e-3, atol=1e-3)
    for beta in (0.0, 1.0, -0.1):
        with pytest.raises(ValueError, match="strictly between"):
            GeneralisedJSD(beta)
