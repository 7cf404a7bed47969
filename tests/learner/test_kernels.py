"""The chunked kernel against the same computation with all logits in memory."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from agentdistill.learner.kernels import SampledLogprobs, fused_head, sampled_logprobs
from agentdistill.learner.losses import FullDivergence, TeacherHead
from agentdistill.learner.statistics import TokenStatistics
from agentdistill_losses.divergences import generalised_jsd

N, D, DT, V = 37, 16, 24, 101


def problem(seed: int = 0, dtype=torch.float32, bias: bool = False):
    g = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(*shape, generator=g, dtype=dtype)

    return {
        "hidden": randn(N, D).requires_grad_(),
        "weight": (0.3 * randn(V, D)).requires_grad_(),
        "bias": randn(V).requires_grad_() if bias else None,
        "teacher": TeacherHead(randn(N, DT), 0.3 * randn(V, DT)),
        "coefficients": torch.rand(N, generator=g, dtype=dtype),
        "targets": torch.randint(V, (N,), generator=g),
    }


def statistics(p) -> TokenStatistics:
    zero, nan = torch.zeros(N, dtype=torch.int64), torch.full((N,), float("nan"))
    return TokenStatistics(zero, zero, zero, zero, p["targets"], nan, nan, nan)


def grads(p, total):
    leaves = [p[name] for name in ("hidden", "weight", "bias") if p[name] is not None]
    return torch.autograd.grad(total, leaves)


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("chunk", "bias", "temperature"), [(1, False, 1.0), (8, True, 1.0), (64, False, 0.7)])
def test_divergence_equals_the_naive_form(beta, chunk, bias, temperature):
    p = problem(bias=bias)
    student = (F.linear(p["hidden"], p["weight"], p["bias"]) / temperature).log_softmax(-1)
    teacher = ((p["teacher"].hidden @ p["teacher"].weight.T) / temperature).log_softmax(-1)
    naive_values = generalised_jsd(beta)(student, teacher)
    naive = grads(p, (p["coefficients"] * naive_values).sum())

    loss = FullDivergence(generalised_jsd(beta), temperature).chunk_loss(statistics(p), p["teacher"])
    total, values = fused_head(p["hidden"], p["weight"], p["bias"], loss, p["coefficients"], chunk=chunk)
    torch.testing.assert_close(values, naive_values.detach(), rtol=1e-5, atol=1e-6)
    assert not values.requires_grad
    for got, expected in zip(grads(p, total), naive, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
    # The log-probabilities of the sampled tokens are at temperature 1 whatever the divergence's temperature.
    at_one = F.linear(p["hidden"], p["weight"], p["bias"]).log_softmax(-1).gather(1, p["targets"][:, None]).squeeze(1)
    torch.testing.assert_close(loss.logprobs, at_one.detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bias", [False, True])
def test_cross_entropy_equals_torchs(bias):
    p = problem(bias=bias)
    logits = F.linear(p["hidden"], p["weight"], p["bias"])
    naive = grads(p, (p["coefficients"] * F.cross_entropy(logits, p["targets"], reduction="none")).sum())
    loss = SampledLogprobs(p["targets"])
    total, values = fused_head(p["hidden"], p["weight"], p["bias"], loss, p["coefficients"], chunk=5)
    torch.testing.assert_close(values, F.cross_entropy(logits, p["targets"], reduction="none").detach())
    for got, expected in zip(grads(p, total), naive, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        sampled_logprobs(p["hidden"], p["weight"], p["bias"], p["targets"], chunk=3), -values, rtol=0, atol=1e-6
    )


def test_chunk_size_changes_nothing_but_rounding():
    p = problem(dtype=torch.float64)
    results = []
    for chunk in (1, 7, N, 10 * N):
        loss = FullDivergence(generalised_jsd(0.5)).chunk_loss(statistics(p), p["teacher"])
        total, _ = fused_head(p["hidden"], p["weight"], None, loss, p["coefficients"], chunk=chunk)
        results.append((total.detach(), *grads(p | {"bias": None}, total)))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


def test_gradient_is_the_slope_of_the_value():
    p = problem(dtype=torch.float64)
    g = torch.Generator().manual_seed(1)

    def total(hidden, weight):
        loss = FullDivergence(generalised_jsd(0.5)).chunk_loss(statistics(p), p["teacher"])
        return fused_head(hidden, weight, None, loss, p["coefficients"], chunk=8)[0]

    slopes = torch.autograd.grad(total(p["hidden"], p["weight"]), (p["hidden"], p["weight"]))
    point = [p["hidden"].detach(), p["weight"].detach()]
    for _ in range(3):
        direction = [torch.randn(x.shape, generator=g, dtype=torch.float64) for x in point]
        up, down = (total(*(x + s * 1e-6 * d for x, d in zip(point, direction, strict=True))) for s in (1, -1))
        expected = sum((a * b).sum() for a, b in zip(slopes, direction, strict=True))
        torch.testing.assert_close((up - down) / 2e-6, expected, rtol=1e-6, atol=1e-8)


def test_frozen_weight_gets_no_gradient_and_upstream_scales():
    p = problem()
    frozen = p["weight"].detach()

    def total():
        loss = SampledLogprobs(p["targets"])
        return fused_head(p["hidden"], frozen, None, loss, p["coefficients"])[0]

    (once,) = torch.autograd.grad(total(), p["hidden"])
    (thrice,) = torch.autograd.grad(3 * total(), p["hidden"])
    torch.testing.assert_close(3 * once, thrice)


def test_zero_coefficient_switches_a_token_off_even_where_its_loss_is_infinite():
    class Broken(SampledLogprobs):
        def __call__(self, logits, span, want_grad):
            value, grad = super().__call__(logits, span, want_grad)
            value[0] = float("inf")
            return value, grad

    p = problem()
    c = p["coefficients"].clone()
    c[0] = 0
    total, values = fused_head(p["hidden"], p["weight"], None, Broken(p["targets"]), c, chunk=N)
    assert torch.isfinite(total) and torch.isinf(values[0])
    assert float(torch.autograd.grad(total, p["hidden"])[0][0].abs().max()) == 0


def test_no_tokens_is_zero():
    p = problem()
    empty = p["hidden"][:0]
    total, values = fused_head(empty, p["weight"], None, SampledLogprobs(p["targets"][:0]), p["coefficients"][:0])
    assert float(total.detach()) == 0 and len(values) == 0


def test_second_differentiation_is_refused():
    p = problem()
    total, _ = fused_head(p["hidden"], p["weight"], None, SampledLogprobs(p["targets"]), p["coefficients"])
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="differentiated twice"):
        total.backward()


def test_bfloat16_layer_keeps_the_loss_in_float32():
    p = problem()
    hidden = p["hidden"].detach().bfloat16().requires_grad_()
    weight = p["weight"].detach().bfloat16().requires_grad_()
    total, values = fused_head(hidden, weight, None, SampledLogprobs(p["targets"]), p["coefficients"], chunk=8)
    grad_hidden, grad_weight = torch.autograd.grad(total, (hidden, weight))
    assert values.dtype == total.dtype == torch.float32
    assert grad_hidden.dtype == grad_weight.dtype == torch.bfloat16
    exact = F.cross_entropy(p["hidden"] @ p["weight"].T, p["targets"], reduction="none").detach()
    torch.testing.assert_close(values, exact, rtol=0.05, atol=0.05)
