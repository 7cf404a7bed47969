"""Losses between two vocabularies: against naive sums over spans, enumerated ranks, and the plain path."""

from __future__ import annotations

import itertools

import pytest
import torch
from made_losses import logits, statistics
from torch import Tensor

from agentdistill.learner.kernels import fused_head
from agentdistill.learner.losses import FullDivergence, TeacherHead
from agentdistill.learner.vocabularies import SpanDistance
from agentdistill_losses.divergences import generalised_jsd
from agentdistill_losses.gold import GoldConfig, GoldLoss, Hybrid, measure_jsd
from agentdistill_losses.sorting import SortedProbabilities
from agentdistill_losses.uld import UldConfig, UldLoss, sorted_distance, universal

pytestmark = pytest.mark.oracle

V, W, N = 6, 9, 8
SPAN = torch.tensor([0, 0, 1, 0, 1, 2, 0, 0])
"""Spans of 1, 2, 3, 1 and 1 tokens."""
IDS = torch.tensor([2, -1, 0, -1, 5, -1, -1, 1, -1])
"""The student's ids of four of the teacher's nine."""
LOSSES = {"uld": UldLoss(UldConfig()), "gold": GoldLoss(GoldConfig())} | {
    f"gold, beta {beta}, weight {weight}": GoldLoss(GoldConfig(beta=beta, matched_weight=weight))
    for beta, weight in ((0.0, None), (1.0, None), (0.2, 0.6))
}
EVERY = pytest.mark.parametrize("name", LOSSES)


class Problem:
    """A student's logits, a teacher's over another vocabulary, and tokens in spans."""

    def __init__(self, seed: int = 0, span: Tensor = SPAN) -> None:
        g = torch.Generator().manual_seed(seed)
        self.student, self.teacher = logits(seed, rows=N, vocabulary=V), logits(seed + 50, rows=N, vocabulary=W)
        self.token_id = torch.randint(0, V, (N,), generator=g)
        self.rest = -torch.rand(N, generator=g, dtype=torch.float64) * (span == 0)
        old = self.student.log_softmax(-1).gather(1, self.token_id[:, None]).squeeze(1)
        self.tokens = statistics(self.token_id, old, old, span=span, teacher_rest=self.rest)
        self.span, self.ids = span, IDS

    def kernel(self, objective, coefficients: Tensor | None = None, chunk: int = 3) -> tuple[Tensor, Tensor, Tensor]:
        """Total, values and gradient with respect to the student's logits, through the learner's kernel."""
        hidden = self.student.clone().requires_grad_()
        head = TeacherHead(self.teacher, torch.eye(W, dtype=torch.float64), self.ids)
        loss = objective.chunk_loss(self.tokens, head)
        c = torch.ones(N, dtype=torch.float64) if coefficients is None else coefficients
        total, values = fused_head(hidden, torch.eye(V, dtype=torch.float64), None, loss, c, chunk=chunk)
        (grad,) = torch.autograd.grad(total, hidden)
        return total.detach(), values, grad

    def naive(self, distance) -> tuple[Tensor, Tensor]:
        """The sum over spans, whose merged probabilities are products, differentiated as a whole."""
        leaf = self.student.clone().requires_grad_()
        q, p = leaf.softmax(-1), self.teacher.softmax(-1)
        begins = torch.nonzero(self.span == 0).flatten().tolist()
        total = torch.zeros((), dtype=torch.float64)
        for begin, end in zip(begins, [*begins[1:], N], strict=True):
            factor = torch.ones((), dtype=torch.float64)
            for place in range(begin + 1, end):
                factor = factor * q[place, self.token_id[place]]
            total = total + distance(q[begin] * factor, p[begin] * self.rest[begin].exp())
        (grad,) = torch.autograd.grad(total, leaf)
        return total.detach(), grad


def naive_uld(q: Tensor, p: Tensor) -> Tensor:
    """By rank, one after the other; what one vocabulary lacks is 0."""
    ranks = itertools.zip_longest(sorted(q, reverse=True), sorted(p, reverse=True), fillvalue=torch.zeros(()))
    return sum((a - b).abs() for a, b in ranks)


def naive_gold(beta: float, weight: float | None):
    def distance(q: Tensor, p: Tensor) -> Tensor:
        pairs = [(q[int(mine)], p[theirs]) for theirs, mine in enumerate(IDS) if mine >= 0]
        w = len(pairs) / W if weight is None else weight
        matched = torch.zeros((), dtype=torch.float64)
        for a, b in pairs:
            if beta == 0.0:
                matched = matched + b * (b / a).log() - b + a
            elif beta == 1.0:
                matched = matched + a * (a / b).log() - a + b
            else:
                m = beta * b + (1 - beta) * a
                matched = matched + beta * b * (b / m).log() + (1 - beta) * a * (a / m).log()
        others = [q[i] for i in range(V) if i not in IDS.tolist()], [p[j] for j in range(W) if IDS[j] < 0]
        return w * matched + (1 - w) * naive_uld(*others)

    return distance


NAIVE = {"uld": naive_uld, "gold": naive_gold(0.5, None)} | {
    f"gold, beta {beta}, weight {weight}": naive_gold(beta, weight)
    for beta, weight in ((0.0, None), (1.0, None), (0.2, 0.6))
}


@EVERY
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("chunk", [1, 3, 64])
def test_values_and_gradients_are_those_of_the_naive_sum(name, seed, chunk):
    problem = Problem(seed)
    total, values, grad = problem.kernel(LOSSES[name].objective, chunk=chunk)
    expected, slope = problem.naive(NAIVE[name])
    torch.testing.assert_close(total, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(grad, slope, rtol=1e-8, atol=1e-10)
    assert bool((values[SPAN > 0] == 0).all()) and bool((values[SPAN == 0] > 0).all())


@EVERY
def test_without_gradient_the_values_are_the_same(name):
    problem = Problem(1)
    head = TeacherHead(problem.teacher, torch.eye(W, dtype=torch.float64), IDS)
    loss = LOSSES[name].objective.chunk_loss(problem.tokens, head)
    value, nothing = loss(problem.student.clone(), slice(0, N), False)
    assert nothing is None
    torch.testing.assert_close(value, problem.kernel(LOSSES[name].objective)[1])
    own = problem.student.log_softmax(-1).gather(1, problem.token_id[:, None]).squeeze(1)
    torch.testing.assert_close(loss.logprobs.double(), own, rtol=1e-6, atol=1e-6)


@EVERY
def test_each_token_counts_what_its_coefficient_says(name):
    problem = Problem(2)
    c = torch.rand(N, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    _, values, alone = problem.kernel(LOSSES[name].objective)
    total, _, grad = problem.kernel(LOSSES[name].objective, c)
    torch.testing.assert_close(total, (c * values).sum())
    torch.testing.assert_close(grad, c[:, None] * alone)


@EVERY
def test_it_rests_where_both_say_the_same(name):
    """The teacher's vocabulary is the student's in another order, and so are its probabilities."""
    problem = Problem(3, torch.zeros(N, dtype=torch.int64))
    order = torch.randperm(V, generator=torch.Generator().manual_seed(0))
    hidden = problem.student.clone().requires_grad_()
    head = TeacherHead(problem.student[:, order], torch.eye(V, dtype=torch.float64), order)
    problem.tokens.teacher_rest.zero_()
    loss = LOSSES[name].objective.chunk_loss(problem.tokens, head)
    total, values = fused_head(hidden, torch.eye(V, dtype=torch.float64), None, loss, torch.ones(N))
    (grad,) = torch.autograd.grad(total, hidden)
    assert float(values.abs().max()) < 1e-14 and float(grad.abs().max()) < 1e-14


@EVERY
def test_one_vocabulary_is_the_plain_path_to_the_bit(name):
    loss = LOSSES[name]
    student, teacher = logits(1, rows=N, vocabulary=V).float(), logits(2, rows=N, vocabulary=V).float()
    token = torch.randint(0, V, (N,), generator=torch.Generator().manual_seed(0))
    tokens = statistics(token, torch.zeros(N), torch.zeros(N))
    head = TeacherHead(teacher, torch.eye(V))
    weight = getattr(loss.config, "matched_weight", None)
    plain = SortedProbabilities() if name == "uld" else generalised_jsd(loss.config.beta)
    results = []
    for objective in (loss.objective, FullDivergence(plain)):
        hidden = student.clone().requires_grad_()
        total, values = fused_head(hidden, torch.eye(V), None, objective.chunk_loss(tokens, head), torch.ones(N))
        (grad,) = torch.autograd.grad(total, hidden)
        results.append((values, grad))
    if weight is None:
        assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])
    else:
        torch.testing.assert_close(results[0][0], weight * results[1][0])


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.5, 1.0])
def test_the_jsd_of_measures_is_zero_only_at_equality(beta):
    g = torch.Generator().manual_seed(0)
    q, p = (torch.rand(400, 5, generator=g, dtype=torch.float64).clamp(min=1e-3) for _ in range(2))
    assert float(measure_jsd(q.log(), p.log(), beta).min()) > 0
    assert float(measure_jsd(p.log(), p.log(), beta).abs().max()) < 1e-14
    # Masses alone tell them apart.
    assert float(measure_jsd((0.5 * p).log(), p.log(), beta).min()) > 1e-4


def test_on_distributions_it_is_the_generalised_jsd():
    q, p = logits(3, rows=5, vocabulary=7).log_softmax(-1), logits(4, rows=5, vocabulary=7).log_softmax(-1)
    for beta in (0.0, 0.2, 1.0):
        torch.testing.assert_close(measure_jsd(q, p, beta), generalised_jsd(beta)(q, p))


def test_sorted_distances_of_vocabularies_of_any_size():
    q = torch.tensor([[0.5, 0.2, 0.3]], dtype=torch.float64)
    p = torch.tensor([[0.1, 0.6, 0.1, 0.1, 0.1]], dtype=torch.float64)
    by_hand = 0.1 + 0.2 + 0.1 + 0.1 + 0.1
    assert float(sorted_distance(q, p)) == pytest.approx(by_hand, abs=1e-12)
    assert float(sorted_distance(p, q)) == pytest.approx(by_hand, abs=1e-12)
    assert float(universal(q.log(), p.log(), torch.full((5,), -1))) == pytest.approx(by_hand, abs=1e-12)


def test_all_tokens_matched_leave_nothing_to_sort():
    q, p = logits(5, rows=3, vocabulary=4).log_softmax(-1), logits(6, rows=3, vocabulary=4).log_softmax(-1)
    hybrid = Hybrid(0.5)(q, p, torch.arange(4))
    torch.testing.assert_close(hybrid, generalised_jsd(0.5)(q, p))
    # A student with tokens of its own has nobody to compare them with.
    wide = logits(7, rows=3, vocabulary=6).log_softmax(-1)
    torch.testing.assert_close(Hybrid(0.5)(wide, p, torch.arange(4)), measure_jsd(wide[:, :4], p, 0.5))


def test_another_view_of_the_teacher_is_a_mistake():
    tokens = Problem().tokens
    with pytest.raises(ValueError, match="output layer"):
        SpanDistance(universal, SortedProbabilities()).chunk_loss(tokens, None)
