"""Divergences over the most likely tokens: against enumeration, and against what must hold of any such divergence."""

from types import SimpleNamespace

import pytest
import torch

from agentdistill.learner.losses import TeacherHead, TeacherTop
from agentdistill.learner.topk import TopKDivergence
from agentdistill_losses.divergences import ForwardKL, GeneralisedJSD, ReverseKL

pytestmark = pytest.mark.oracle

V, N = 9, 6


class Tokens(SimpleNamespace):
    """As much of the statistics as a divergence without context looks at."""

    def __len__(self):
        return N


def case(seed=0):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(N, 4, dtype=torch.float64, generator=generator)
    weight = torch.randn(V, 4, dtype=torch.float64, generator=generator)
    logits = torch.randn(N, V, dtype=torch.float64, generator=generator)
    tokens = Tokens(token_id=torch.randint(0, V, (N,), generator=generator))
    return hidden, weight, logits, tokens


def top_of(hidden, weight, k):
    logprobs = (hidden @ weight.T).log_softmax(-1)
    best = logprobs.topk(k, -1)
    return TeacherTop(best.indices, best.values), logprobs


def evaluate(objective, logits, tokens, teacher):
    value, gradient = objective.chunk_loss(tokens, teacher)(logits.clone(), slice(0, N), True)
    return value, gradient


@pytest.mark.parametrize("divergence", [ForwardKL(), ReverseKL(), GeneralisedJSD(0.3)])
@pytest.mark.parametrize("support", ["teacher", "student"])
def test_the_tail_bucket_is_the_divergence_of_merged_distributions(divergence, support):
    hidden, weight, logits, tokens = case()
    top, teacher = top_of(hidden, weight, 3)
    view = top if support == "teacher" else TeacherHead(hidden, weight)
    value, gradient = evaluate(TopKDivergence(divergence, 3, support), logits, tokens, view)
    leaf = logits.clone().requires_grad_()
    student = leaf.log_softmax(-1)
    for row in range(N):
        ids = (top.ids if support == "teacher" else student.detach().topk(3, -1).indices)[row].tolist()
        others = [v for v in range(V) if v not in ids]
        merged = [
            torch.cat([d[row, ids], d[row, others].logsumexp(-1, keepdim=True)])[None].clone()
            for d in (student, teacher)
        ]
        expected = divergence(*merged)
        assert float(value[row]) == pytest.approx(float(expected.detach()), abs=1e-10)
        assert float(value[row]) <= float(divergence(student[row : row + 1], teacher[row : row + 1]).detach()) + 1e-10
        (slope,) = torch.autograd.grad(expected.sum(), leaf, retain_graph=True)
        assert torch.allclose(gradient[row], slope[row], atol=1e-10)


def test_with_all_tokens_every_tail_is_the_full_divergence():
    hidden, weight, logits, tokens = case(1)
    top, teacher = top_of(hidden, weight, V)
    full = ReverseKL()(logits.log_softmax(-1), teacher)
    for tail in ("renormalise", "stop-gradient"):
        value, _ = evaluate(TopKDivergence(ReverseKL(), V, tail=tail), logits, tokens, top)
        assert torch.allclose(value, full, atol=1e-10)
    value, _ = evaluate(TopKDivergence(ReverseKL(), V, tail="bucket"), logits, tokens, top)
    assert torch.allclose(value, full, atol=1e-10)


def test_a_stopped_gradient_vanishes_at_the_teacher_and_the_raw_one_does_not():
    hidden, weight, _, tokens = case(2)
    top, teacher = top_of(hidden, weight, 3)
    value, gradient = evaluate(TopKDivergence(ReverseKL(), 3, tail="stop-gradient"), teacher, tokens, top)
    assert value.abs().max() < 1e-12 and gradient.abs().max() < 1e-12
    leaf = teacher.clone().requires_grad_()
    q = leaf.log_softmax(-1).gather(1, top.ids)
    (raw,) = torch.autograd.grad((q.exp() * (q - top.logprobs)).sum(), leaf)
    assert raw.abs().max() > 1e-3  # why raw top-k reverse KL is refused


@pytest.mark.parametrize("tail", ["bucket", "renormalise"])
def test_teacher_as_student_gives_zero(tail):
    hidden, weight, _, tokens = case(3)
    top, teacher = top_of(hidden, weight, 4)
    value, gradient = evaluate(TopKDivergence(ForwardKL(), 4, tail=tail), teacher, tokens, top)
    assert value.abs().max() < 1e-12 and gradient.abs().max() < 1e-12


def test_temperature_softens_both_where_the_tail_does_not_matter():
    hidden, weight, logits, tokens = case(4)
    top, teacher = top_of(hidden, weight, 3)
    value, _ = evaluate(TopKDivergence(ForwardKL(), 3, tail="renormalise", temperature=2.0), logits, tokens, top)
    q = (logits.gather(1, top.ids) / 2).log_softmax(-1)
    p = (teacher.gather(1, top.ids) / 2).log_softmax(-1)
    assert torch.allclose(value, ForwardKL()(q, p), atol=1e-10)
    student, _ = evaluate(
        TopKDivergence(ForwardKL(), V, "student", temperature=2.0), logits, tokens, TeacherHead(hidden, weight)
    )
    whole = ForwardKL()((logits / 2).log_softmax(-1), (hidden @ weight.T / 2).log_softmax(-1))
    assert torch.allclose(student, whole, atol=1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "at least 1"),
        ({"k": 1, "tail": "renormalise"}, "always 0"),
        ({"k": 3, "temperature": 2.0}, "not known"),
    ],
)
def test_impossible_supports_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TopKDivergence(ForwardKL(), **options)
