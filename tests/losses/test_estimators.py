"""What the gradient of each sampled estimator estimates, by enumeration of a vocabulary. Gradients, not values."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from agentdistill.learner.kernels import fused_head
from agentdistill.learner.losses import FullDivergence, PolicyGradient, SampledLoss, TeacherHead
from agentdistill.learner.statistics import TokenStatistics
from agentdistill_losses.divergences import ForwardKL, ReverseKL
from agentdistill_losses.estimators import k1, k2, k3
from agentdistill_losses.opd import reverse_kl_advantage

V = 5


def enumerate_tokens(seed: int):
    """Every token once, with its probability under the student: sums over them are exact expectations."""
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(2, V, generator=g, dtype=torch.float64)
    student, teacher = z[0].log_softmax(-1), z[1].log_softmax(-1)
    every, zero = torch.arange(V), torch.zeros(V, dtype=torch.int64)
    nan = torch.full((V,), float("nan"))
    tokens = TokenStatistics(zero, zero, zero, zero, every, student.clone(), teacher.clone(), nan)
    return z[0], z[1], tokens


def expected_gradient(objective, z, teacher, tokens, coefficients=None) -> torch.Tensor:
    """Gradient with respect to the student's logits, through the very kernel the learner uses."""
    hidden = z.repeat(V, 1).requires_grad_()
    identity = torch.eye(V, dtype=torch.float64)
    head = TeacherHead(teacher.repeat(V, 1), identity)
    c = tokens.old_logprob.exp() if coefficients is None else coefficients
    total, _ = fused_head(hidden, identity, None, objective.chunk_loss(tokens, head), c, chunk=2)
    total.backward()
    return hidden.grad.sum(0)


def exact_gradient(divergence, z, teacher) -> torch.Tensor:
    leaf = z.clone().requires_grad_()
    (grad,) = torch.autograd.grad(divergence(leaf.log_softmax(-1)[None], teacher.log_softmax(-1)[None]).sum(), leaf)
    return grad


@pytest.mark.parametrize("seed", range(5))
class TestEnumeration:
    def test_policy_gradient_is_the_reverse_kl(self, seed):
        z, t, tokens = enumerate_tokens(seed)
        got = expected_gradient(PolicyGradient(reverse_kl_advantage), z, t, tokens)
        torch.testing.assert_close(got, exact_gradient(ReverseKL(), z, t), rtol=0, atol=1e-10)

    def test_k2_is_the_reverse_kl(self, seed):
        z, t, tokens = enumerate_tokens(seed)
        got = expected_gradient(SampledLoss(k2), z, t, tokens)
        torch.testing.assert_close(got, exact_gradient(ReverseKL(), z, t), rtol=0, atol=1e-10)

    def test_k1_is_zero_and_never_sees_the_teacher(self, seed):
        z, t, tokens = enumerate_tokens(seed)
        got = expected_gradient(SampledLoss(k1), z, t, tokens)
        assert float(got.abs().max()) < 1e-10

    def test_k3_is_the_forward_kl_and_not_the_reverse(self, seed):
        z, t, tokens = enumerate_tokens(seed)
        got = expected_gradient(SampledLoss(k3), z, t, tokens)
        torch.testing.assert_close(got, exact_gradient(ForwardKL(), z, t), rtol=0, atol=1e-10)
        assert float((got - exact_gradient(ReverseKL(), z, t)).abs().max()) > 1e-3

    @pytest.mark.parametrize("divergence", [ReverseKL(), ForwardKL()])
    def test_full_support_is_exact(self, seed, divergence):
        z, t, tokens = enumerate_tokens(seed)
        got = expected_gradient(FullDivergence(divergence), z, t, tokens)
        torch.testing.assert_close(got, exact_gradient(divergence, z, t), rtol=0, atol=1e-10)


def test_values_of_k1_and_k3_are_the_reverse_kl_and_k3_is_never_negative():
    z, t, tokens = enumerate_tokens(0)
    q = tokens.old_logprob.exp()
    kl = ReverseKL()(z.log_softmax(-1)[None], t.log_softmax(-1)[None])[0]
    for estimator in (k1, k3):
        torch.testing.assert_close((q * estimator(tokens.old_logprob, tokens.teacher_logprob)).sum(), kl)
    assert float(k3(tokens.old_logprob, tokens.teacher_logprob).min()) >= 0


def test_temperature_softens_both_sides():
    z, t, tokens = enumerate_tokens(3)
    got = expected_gradient(FullDivergence(ForwardKL(), temperature=2.0), z, t, tokens)
    leaf = z.clone().requires_grad_()
    value = ForwardKL()((leaf / 2).log_softmax(-1)[None], (t / 2).log_softmax(-1)[None])
    (expected,) = torch.autograd.grad(value.sum(), leaf)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "objective", [PolicyGradient(reverse_kl_advantage), SampledLoss(k2), FullDivergence(ReverseKL())]
)
def test_a_student_that_is_its_teacher_has_no_gradient(objective):
    z, _, tokens = enumerate_tokens(1)
    same = dataclasses.replace(tokens, teacher_logprob=tokens.old_logprob)
    assert float(expected_gradient(objective, z, z, same).abs().max()) < 1e-12
