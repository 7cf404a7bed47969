"""Divergences on the most likely tokens, through the kernel; and what is refused, with the reason."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from made_losses import every_token, logits, statistics, through_kernel, view
from pydantic import ValidationError
from torch import Tensor

from agentdistill.learner.topk import TopKDivergence
from agentdistill_losses.choice import DistributionConfig, DivergenceName, chosen_divergence
from agentdistill_losses.divergences import ForwardKL, ReverseKL
from agentdistill_losses.opd import OpdConfig, OpdLoss
from agentdistill_losses.supports import bucketed, top_ids
from agentdistill_losses.veto import VetoConfig

pytestmark = pytest.mark.oracle

EXACT = {"rtol": 0.0, "atol": 1e-10}
NAMES = get_args(DivergenceName)


def run(objective: object, student: Tensor, teacher: Tensor, chunk: int = 2) -> tuple[Tensor, Tensor]:
    """Values and gradients of rows [n, V] of logits, each token sampled as its row number."""
    count = len(student)
    token = torch.arange(count) % student.shape[-1]
    picked = [x.log_softmax(-1).gather(-1, token[:, None]).squeeze(-1) for x in (student, teacher)]
    ones = torch.ones(count, dtype=torch.float64)
    return through_kernel(objective, student, teacher, statistics(token, *picked), ones, chunk=chunk)[1:]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("support", ["full", "teacher-topk", "student-topk"])
@pytest.mark.parametrize("tail", ["bucket", "renormalise"])
def test_every_divergence_on_every_support(name: str, support: str, tail: str) -> None:
    if support == "full" and tail != "bucket":
        tail = "bucket"
    loss = OpdLoss(OpdConfig(divergence=name, support=support, k=3, tail=tail))
    student, teacher = logits(1, rows=5, vocabulary=8), logits(2, rows=5, vocabulary=8)
    leaf = student.clone().requires_grad_()
    q, p = leaf.log_softmax(-1), teacher.log_softmax(-1)
    if support != "full":
        ids = top_ids(p if support == "teacher-topk" else q, 3)
        if tail == "bucket":
            q, p = bucketed(q, ids), bucketed(p, ids)
        else:
            q, p = q.gather(-1, ids).log_softmax(-1), p.gather(-1, ids).log_softmax(-1)
    expected = chosen_divergence(DistributionConfig(divergence=name))(q, p)
    (slope,) = torch.autograd.grad(expected.sum(), leaf)
    values, grad = run(loss.objective, student, teacher)
    torch.testing.assert_close(values, expected.detach(), **EXACT)
    torch.testing.assert_close(grad, slope, **EXACT)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("support", ["full", "teacher-topk", "student-topk"])
@pytest.mark.parametrize("tail", ["bucket", "renormalise"])
def test_teacher_as_student_is_at_rest_on_every_support(name: str, support: str, tail: str) -> None:
    if support == "full" and tail != "bucket":
        tail = "bucket"
    same = logits(3, rows=5, vocabulary=8)
    values, grad = run(OpdLoss(OpdConfig(divergence=name, support=support, k=3, tail=tail)).objective, same, same)
    assert float(values.abs().max()) < 1e-10 and float(grad.abs().max()) < 1e-10


@pytest.mark.parametrize("support", ["teacher-topk", "student-topk"])
def test_stop_gradient_is_the_reverse_kl_through_its_weights(support: str) -> None:
    student, teacher = logits(1, rows=5, vocabulary=8), logits(2, rows=5, vocabulary=8)
    leaf = student.clone().requires_grad_()
    q, p = leaf.log_softmax(-1), teacher.log_softmax(-1)
    ids = top_ids(p if support == "teacher-topk" else q, 3)
    q, p = q.gather(-1, ids), p.gather(-1, ids)
    (slope,) = torch.autograd.grad((q.exp() * (q - p).detach()).sum(), leaf)
    objective = OpdLoss(OpdConfig(support=support, k=3, tail="stop-gradient")).objective
    torch.testing.assert_close(run(objective, student, teacher)[1], slope, **EXACT)
    assert float(run(objective, teacher, teacher)[1].abs().max()) < 1e-12


def descend(loss: object, start: Tensor, steps: int = 4000, rate: float = 0.5) -> Tensor:
    z = start.clone()
    for _ in range(steps):
        leaf = z.clone().requires_grad_()
        (grad,) = torch.autograd.grad(loss(leaf.log_softmax(-1)).sum(), leaf)  # type: ignore[operator]
        z = z - rate * grad
    return z.softmax(-1)


def test_why_a_top_k_without_its_tail_is_refused() -> None:
    """Raw top-k reverse KL ends at teacher / e; with a bucket or a stopped gradient the mass is right."""
    p = torch.tensor([0.5, 0.25, 0.15, 0.06, 0.04], dtype=torch.float64).log()
    ids = torch.tensor([0, 1, 2])
    start = torch.zeros(5, dtype=torch.float64)

    def raw(q: Tensor) -> Tensor:
        return (q[ids].exp() * (q[ids] - p[ids])).sum()

    def stopped(q: Tensor) -> Tensor:
        return (q[ids].exp() * (q[ids] - p[ids]).detach()).sum()

    def bucket(q: Tensor) -> Tensor:
        return ReverseKL()(bucketed(q[None], ids[None]), bucketed(p[None], ids[None])).sum()

    torch.testing.assert_close(descend(raw, start)[ids], p[ids].exp() / math.e, rtol=1e-4, atol=1e-5)
    for mended in (stopped, bucket):
        torch.testing.assert_close(descend(mended, start)[ids], p[ids].exp(), rtol=1e-3, atol=1e-4)


REFUSED = [
    ({"support": "teacher-topk", "tail": "none"}, "wrong gradient"),
    ({"support": "student-topk", "tail": "none", "divergence": "forward-kl"}, "wrong gradient"),
    ({"support": "teacher-topk", "tail": "renormalise", "k": 1}, "compares 1 with 1"),
    ({"support": "student-topk", "tail": "renormalise", "k": 1, "divergence": "jsd"}, "zero for every student"),
    ({"support": "teacher-topk", "tail": "stop-gradient", "divergence": "forward-kl"}, "reverse KL's mend"),
    ({"support": "teacher-topk", "temperature": 2.0}, "only the mass at temperature 1 is known"),
    ({"support": "full", "tail": "renormalise"}, "leaves no tail"),
    ({"support": "sampled", "tail": "renormalise"}, "leaves no tail"),
    ({"support": "teacher-topk", "k": 0}, "greater than or equal to 1"),
    ({"support": "teacher-topk", "gradient": "policy-gradient"}, "differentiated exactly"),
    ({"support": "student-topk", "estimator": "k2"}, "not estimated"),
    ({"divergence": "chi-square"}, "cannot be had from sampled tokens"),
    ({"divergence": "skew-kl"}, "needs both distributions"),
    ({"gradient": "direct", "estimator": "k1"}, "expectation zero"),
    ({"support": "full", "divergence": "skew-kl", "skew": 0.0}, "greater than 0"),
    ({"support": "full", "divergence": "alpha", "alpha": -1.0}, "greater than or equal to 0"),
]


@pytest.mark.parametrize(("options", "reason"), REFUSED)
def test_what_cannot_work_is_refused_in_one_sentence(options: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason) as caught:
        OpdConfig(**options)
    for problem in caught.value.errors():
        assert ". " not in problem["msg"]


@pytest.mark.parametrize(
    "options",
    [
        {"support": "teacher-topk", "tail": "renormalise", "temperature": 2.0},
        {"support": "student-topk", "temperature": 2.0},
        {"support": "full", "temperature": 0.5, "divergence": "alpha"},
        {"support": "teacher-topk", "tail": "stop-gradient", "k": 1},
        {"support": "teacher-topk", "k": 1},
    ],
)
def test_what_works_is_not_refused(options: dict[str, object]) -> None:
    loss = OpdLoss(OpdConfig(**options))
    student, teacher = logits(1, rows=5, vocabulary=8), logits(2, rows=5, vocabulary=8)
    values, grad = run(loss.objective, student, teacher)
    assert bool(torch.isfinite(values).all()) and bool(torch.isfinite(grad).all())


def test_requests_follow_the_support() -> None:
    asked = {s: OpdLoss(OpdConfig(support=s, k=7)).request for s in ("sampled", "full", "teacher-topk", "student-topk")}
    assert [asked[s].hidden for s in asked] == [False, True, False, True]
    assert [asked[s].top_k for s in asked] == [0, 0, 7, 0]


@pytest.mark.parametrize("temperature", [0.5, 2.0])
@pytest.mark.parametrize("support", ["student-topk", "teacher-topk"])
def test_temperature_on_a_renormalised_support(temperature: float, support: str) -> None:
    student, teacher = logits(1, rows=5, vocabulary=8), logits(2, rows=5, vocabulary=8)
    leaf = student.clone().requires_grad_()
    ids = top_ids((teacher if support == "teacher-topk" else student), 3)
    q, p = ((x / temperature).gather(-1, ids).log_softmax(-1) for x in (leaf, teacher))
    expected = ForwardKL()(q, p)
    (slope,) = torch.autograd.grad(expected.sum(), leaf)
    config = OpdConfig(divergence="forward-kl", support=support, k=3, tail="renormalise", temperature=temperature)
    values, grad = run(OpdLoss(config).objective, student, teacher)
    torch.testing.assert_close(values, expected.detach(), **EXACT)
    torch.testing.assert_close(grad, slope, **EXACT)


def test_chunks_do_not_matter() -> None:
    student, teacher = logits(1, rows=5, vocabulary=8), logits(2, rows=5, vocabulary=8)
    for options in ({"support": "full", "divergence": "chi-square"}, {"support": "student-topk", "k": 3}):
        objective = OpdLoss(OpdConfig(**options)).objective
        whole = run(objective, student, teacher, chunk=5)
        for chunk in (1, 2, 3):
            for got, expected in zip(run(objective, student, teacher, chunk=chunk), whole, strict=True):
                torch.testing.assert_close(got, expected, **EXACT)


def test_the_kernel_says_the_sampled_tokens_log_probabilities() -> None:
    student, teacher = logits(4)
    tokens = every_token(student, teacher)
    for support in ("teacher", "student"):
        objective = TopKDivergence(ReverseKL(), 2, support=support)
        rows = teacher.repeat(6, 1)
        loss = objective.chunk_loss(tokens, view(objective, rows))
        loss(student.repeat(6, 1), slice(0, 6), False)
        torch.testing.assert_close(loss.logprobs, student.log_softmax(-1).float())


def test_a_bridge_needs_a_beginning_that_is_not_negative() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        VetoConfig(beta=-0.1)
