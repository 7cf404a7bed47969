"""Skewed, f- and sorted divergences: definitions by enumeration, gradients, limits, tails, extremes."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from made_losses import logits
from torch import Tensor

from agentdistill.learner.losses import divergence_with_gradient
from agentdistill_losses.choice import DistributionConfig, chosen_divergence
from agentdistill_losses.divergences import ForwardKL, GeneralisedJSD, ReverseKL
from agentdistill_losses.fdivergences import CAP, AlphaDivergence, ChiSquare, TotalVariation, alpha_divergence
from agentdistill_losses.skew import SkewKL, SkewReverseKL
from agentdistill_losses.sorting import SortedProbabilities
from agentdistill_losses.supports import bucketed, entropy, top_ids

pytestmark = pytest.mark.oracle

ANALYTIC = {
    "reverse-kl": ReverseKL(),
    "forward-kl": ForwardKL(),
    "jsd": GeneralisedJSD(0.3),
    "skew-kl": SkewKL(0.1),
    "skew-kl-half": SkewKL(0.5),
    "skew-reverse-kl": SkewReverseKL(0.1),
    "skew-reverse-kl-most": SkewReverseKL(0.9),
    "total-variation": TotalVariation(),
    "chi-square": ChiSquare(),
    "alpha-half": AlphaDivergence(0.5),
    "alpha-2": AlphaDivergence(2.0),
    "alpha-3.5": AlphaDivergence(3.5),
}
EVERY = ANALYTIC | {"uld": SortedProbabilities()}


def by_hand(name: str, p: list[float], q: list[float]) -> float:
    """The definitions, one token at a time."""
    pairs = list(zip(p, q, strict=True))
    if name == "reverse-kl":
        return sum(b * math.log(b / a) for a, b in pairs)
    if name == "forward-kl":
        return sum(a * math.log(a / b) for a, b in pairs)
    if name == "jsd":
        mixed = [(a, b, 0.3 * a + 0.7 * b) for a, b in pairs]
        return sum(0.3 * a * math.log(a / m) + 0.7 * b * math.log(b / m) for a, b, m in mixed)
    if name.startswith("skew-kl"):
        share = 0.5 if name.endswith("half") else 0.1
        return sum(a * math.log(a / (share * a + (1 - share) * b)) for a, b in pairs)
    if name.startswith("skew-reverse-kl"):
        share = 0.9 if name.endswith("most") else 0.1
        return sum(b * math.log(b / ((1 - share) * a + share * b)) for a, b in pairs)
    if name == "total-variation":
        return 0.5 * sum(abs(a - b) for a, b in pairs)
    if name == "chi-square":
        return sum((a - b) ** 2 / b for a, b in pairs)
    if name.startswith("alpha"):
        order = 0.5 if name.endswith("half") else float(name.split("-")[1])
        return (sum(a**order * b ** (1 - order) for a, b in pairs) - 1) / (order * (order - 1))
    return sum(abs(a - b) for a, b in zip(sorted(p), sorted(q), strict=True))


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("seed", range(3))
def test_values_are_the_definitions(name: str, seed: int) -> None:
    student, teacher = logits(seed, scale=2.0).log_softmax(-1)
    expected = by_hand(name, teacher.exp().tolist(), student.exp().tolist())
    assert float(EVERY[name](student[None], teacher[None])) == pytest.approx(expected, abs=1e-10, rel=1e-10)


@pytest.mark.parametrize("name", ANALYTIC)
@pytest.mark.parametrize("seed", range(3))
def test_analytic_gradients_are_those_of_automatic_differentiation(name: str, seed: int) -> None:
    z = logits(seed, rows=7, vocabulary=31, scale=2.0)
    teacher = logits(seed + 100, rows=7, vocabulary=31, scale=2.0).log_softmax(-1)
    leaf = z.clone().requires_grad_()
    expected = ANALYTIC[name](leaf.log_softmax(-1), teacher)
    (slope,) = torch.autograd.grad(expected.sum(), leaf)
    value, grad = ANALYTIC[name].with_gradient(z.log_softmax(-1), teacher.clone())
    torch.testing.assert_close(value, expected.detach(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(grad, slope, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", EVERY)
def test_teacher_as_student_gives_zero_value_and_gradient(name: str) -> None:
    same = logits(5, rows=4, vocabulary=9).log_softmax(-1)
    value, grad = divergence_with_gradient(EVERY[name], same.clone(), same.clone())
    assert float(value.abs().max()) < 1e-12
    assert float(grad.abs().max()) < 1e-12


@pytest.mark.parametrize("name", ANALYTIC)
def test_gradients_are_finite_differences(name: str) -> None:
    student, teacher = logits(8)
    _, grad = ANALYTIC[name].with_gradient(student.log_softmax(-1)[None], teacher.log_softmax(-1)[None])
    step = 1e-6
    for token in range(len(student)):
        moved = [student.clone() for _ in range(2)]
        moved[0][token] += step
        moved[1][token] -= step
        up, down = (float(ANALYTIC[name](z.log_softmax(-1)[None], teacher.log_softmax(-1)[None])) for z in moved)
        assert float(grad[0, token]) == pytest.approx((up - down) / (2 * step), abs=1e-7)


def test_limits() -> None:
    student, teacher = logits(1, rows=2, vocabulary=9).log_softmax(-1)[:, None]
    close = {"rtol": 1e-5, "atol": 1e-6}
    torch.testing.assert_close(SkewKL(1e-8)(student, teacher), ForwardKL()(student, teacher), **close)
    torch.testing.assert_close(SkewReverseKL(1e-8)(student, teacher), ReverseKL()(student, teacher), **close)
    torch.testing.assert_close(AlphaDivergence(1e-6)(student, teacher), ReverseKL()(student, teacher), **close)
    torch.testing.assert_close(AlphaDivergence(1 - 1e-6)(student, teacher), ForwardKL()(student, teacher), **close)
    torch.testing.assert_close(AlphaDivergence(1 + 1e-6)(student, teacher), ForwardKL()(student, teacher), **close)
    torch.testing.assert_close(AlphaDivergence(2.0)(student, teacher), 0.5 * ChiSquare()(student, teacher))
    assert isinstance(alpha_divergence(0.0), ReverseKL) and isinstance(alpha_divergence(1.0), ForwardKL)


def test_limits_of_gradients() -> None:
    z, teacher = logits(2, rows=2, vocabulary=9)[:, None]
    teacher = teacher.log_softmax(-1)

    def slope(divergence: object) -> Tensor:
        return divergence_with_gradient(divergence, z.log_softmax(-1), teacher.clone())[1]  # type: ignore[arg-type]

    for near, limit in (
        (SkewKL(1e-9), ForwardKL()),
        (SkewReverseKL(1e-9), ReverseKL()),
        (AlphaDivergence(1e-7), ReverseKL()),
        (AlphaDivergence(1 - 1e-7), ForwardKL()),
    ):
        torch.testing.assert_close(slope(near), slope(limit), rtol=1e-5, atol=1e-6)


def test_bounds() -> None:
    apart = torch.tensor([[60.0, 0.0], [0.0, 60.0]], dtype=torch.float64).log_softmax(-1)
    one, other = apart[:1], apart[1:]
    assert float(TotalVariation()(one, other)) == pytest.approx(1.0)
    assert float(SkewKL(0.1)(one, other)) == pytest.approx(math.log(10.0))
    assert float(SkewReverseKL(0.1)(one, other)) == pytest.approx(math.log(10.0))


@pytest.mark.parametrize("name", ANALYTIC)
def test_extreme_ratios_stay_finite_in_float32(name: str) -> None:
    far = torch.tensor([[0.0, 200.0, -50.0], [200.0, 0.0, -50.0]]).log_softmax(-1)
    value, grad = ANALYTIC[name].with_gradient(far[:1].clone(), far[1:].clone())
    assert bool(torch.isfinite(value).all()) and bool(torch.isfinite(grad).all())
    assert float(value) > 0.1


@pytest.mark.parametrize("divergence", [ChiSquare(), AlphaDivergence(0.5), AlphaDivergence(3.0)])
def test_beyond_the_cap_the_generator_goes_on_as_its_tangent(divergence: ChiSquare) -> None:
    # One token with p / q = e^(CAP + 3): q f_ext(u) = q f(c) + f'(c) (p - q c).
    teacher = torch.tensor([[0.5, 0.5]], dtype=torch.float64).log()
    rare = 0.5 * math.exp(-(CAP + 3.0))
    student = torch.tensor([[rare, 1.0 - rare]], dtype=torch.float64).log()
    c = math.exp(CAP)
    f_c, w_c = (float(g(torch.tensor(CAP, dtype=torch.float64))) for g in (divergence.generator, divergence.slope))
    other = teacher[0, 1] - student[0, 1]
    expected = rare * f_c + (f_c - w_c) / c * (0.5 - rare * c) + (1.0 - rare) * float(divergence.generator(other))
    assert float(divergence(student, teacher)) == pytest.approx(expected, rel=1e-10)
    _, grad = divergence.with_gradient(student.clone(), teacher.clone())
    leaf = student.clone().requires_grad_()
    (slope,) = torch.autograd.grad(divergence(leaf, teacher).sum(), leaf)
    torch.testing.assert_close(grad, slope - student.exp() * slope.sum(-1, keepdim=True), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in EVERY if name != "uld"])
def test_the_tail_bucket_never_exceeds_the_full_divergence(name: str) -> None:
    """Data processing: merging outcomes cannot raise an f-divergence. 200 pairs, every k."""
    student = logits(11, rows=200, vocabulary=12, scale=2.0).log_softmax(-1)
    teacher = logits(12, rows=200, vocabulary=12, scale=2.0).log_softmax(-1)
    full = EVERY[name](student, teacher)
    for k, owner in itertools.product((1, 2, 5, 11), (student, teacher)):
        ids = top_ids(owner, k)
        merged = EVERY[name](bucketed(student, ids), bucketed(teacher, ids))
        assert bool((merged <= full * (1 + 1e-12) + 1e-12).all())
        assert bool((merged >= -1e-12).all())


def test_renormalising_can_exceed_the_full_divergence() -> None:
    """Why the bucket is the default."""
    student = logits(11, rows=2000, vocabulary=12, scale=2.0).log_softmax(-1)
    teacher = logits(12, rows=2000, vocabulary=12, scale=2.0).log_softmax(-1)
    ids = top_ids(teacher, 3)
    kept = [x.gather(-1, ids).log_softmax(-1) for x in (student, teacher)]
    assert float((ReverseKL()(*kept) > ReverseKL()(student, teacher)).double().mean()) > 0.02


def test_bucketed_keeps_all_the_mass_and_all_tokens_when_there_are_no_more() -> None:
    log_probs = logits(3, rows=5, vocabulary=7).log_softmax(-1)
    for k in (1, 4, 6, 7, 9):
        merged = bucketed(log_probs, top_ids(log_probs, k))
        assert merged.shape[-1] == min(k + 1, 7)
        torch.testing.assert_close(merged.exp().sum(-1), torch.ones(5, dtype=torch.float64))


def test_bucketed_has_the_gradient_of_its_definition() -> None:
    z = logits(4, rows=3, vocabulary=8).requires_grad_()
    ids = top_ids(z, 3)
    (grad,) = torch.autograd.grad(bucketed(z.log_softmax(-1), ids)[:, -1].sum(), z)
    p = z.softmax(-1)
    tail = 1 - p.gather(-1, ids).sum(-1, keepdim=True)
    inside = torch.zeros_like(p).scatter(-1, ids, 1.0)
    expected = (p * (1 - inside) - tail * p) / tail
    torch.testing.assert_close(grad, expected, rtol=1e-10, atol=1e-12)


def test_entropy_of_certainty_is_zero() -> None:
    certain = torch.tensor([[0.0, -torch.inf]])
    assert float(entropy(certain)) == 0.0
    uniform = torch.zeros(1, 8).log_softmax(-1)
    assert float(entropy(uniform)) == pytest.approx(math.log(8))


def test_sorted_probabilities_forget_names() -> None:
    student, teacher = logits(6).log_softmax(-1)
    shuffled = teacher[torch.tensor([3, 1, 5, 0, 2, 4])]
    torch.testing.assert_close(SortedProbabilities()(student, teacher), SortedProbabilities()(student, shuffled))
    assert float(SortedProbabilities()(teacher[None], shuffled[None])) == 0.0


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"divergence": "skew-kl", "skew": 0.2}, SkewKL),
        ({"divergence": "skew-reverse-kl"}, SkewReverseKL),
        ({"divergence": "total-variation"}, TotalVariation),
        ({"divergence": "chi-square"}, ChiSquare),
        ({"divergence": "alpha", "alpha": 0.7}, AlphaDivergence),
        ({"divergence": "alpha", "alpha": 1.0}, ForwardKL),
        ({"divergence": "uld"}, SortedProbabilities),
        ({"divergence": "jsd", "beta": 1.0}, ReverseKL),
    ],
)
def test_options_choose(options: dict[str, object], kind: type) -> None:
    assert isinstance(chosen_divergence(DistributionConfig(**options)), kind)


@pytest.mark.parametrize("make", [lambda: SkewKL(0.0), lambda: SkewReverseKL(1.0), lambda: AlphaDivergence(1.0)])
def test_limits_are_not_members(make: object) -> None:
    with pytest.raises(ValueError, match="must"):
        make()  # type: ignore[operator]
