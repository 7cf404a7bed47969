"""TSD-KD: the ranking likelihood in both forms, its selections, and its three terms."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from made_losses import exact, logits, statistics, through_kernel

from agentdistill_losses.divergences import generalised_jsd
from agentdistill_losses.sorting import plackett_luce, prefix_plackett_luce, rank_listed
from agentdistill_losses.supports import entropy
from agentdistill_losses.tsd_kd import (
    Reranking,
    TsdKdConfig,
    TsdKdLoss,
    WeightedJSD,
    opening_tokens,
    student_entropy,
    wavering_tokens,
)

pytestmark = pytest.mark.oracle

EXACT = {"rtol": 0.0, "atol": 1e-10}


def likelihood(scores: list[float]) -> float:
    """The Plackett-Luce probability of taking the items in this order, by definition."""
    weights = [math.exp(s) for s in scores]
    return math.prod(weights[i] / sum(weights[i:]) for i in range(len(weights)))


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_likelihood_of_the_order_and_orders_sum_to_one(seed: int) -> None:
    scores = logits(seed, rows=1, vocabulary=4)[0]
    total = 0.0
    for order in itertools.permutations(range(4)):
        listed = scores[list(order)]
        expected = likelihood(listed.tolist())
        assert float(plackett_luce(listed[None])) == pytest.approx(-math.log(expected), abs=1e-10)
        total += expected
    assert total == pytest.approx(1.0, abs=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_smallest_where_the_orders_agree_and_the_released_form_where_they_are_opposite(seed: int) -> None:
    scores = logits(seed, rows=1, vocabulary=5)[0].sort(descending=True).values
    orders = [scores[list(order)] for order in itertools.permutations(range(5))]
    right = [float(plackett_luce(o[None])) for o in orders]
    released = [float(prefix_plackett_luce(o[None])) for o in orders]
    assert min(range(len(orders)), key=right.__getitem__) == 0
    assert min(range(len(orders)), key=released.__getitem__) == len(orders) - 1


def test_the_numbers_of_the_page() -> None:
    agree = torch.tensor([[3.0, 2.0, 1.0, 0.0]], dtype=torch.float64)
    assert float(plackett_luce(agree)) == pytest.approx(1.16, abs=5e-3)
    assert float(plackett_luce(agree.flip(-1))) == pytest.approx(7.16, abs=5e-3)
    assert float(prefix_plackett_luce(agree)) == pytest.approx(7.16, abs=5e-3)
    assert float(prefix_plackett_luce(agree.flip(-1))) == pytest.approx(1.16, abs=5e-3)


def test_shifts_and_single_items() -> None:
    scores = logits(0, rows=3, vocabulary=5)
    torch.testing.assert_close(plackett_luce(scores + 8.5), plackett_luce(scores), **EXACT)
    assert plackett_luce(scores[:, :1]).abs().max() == 0.0


def test_listing() -> None:
    scores = torch.tensor([[1.0, 2.0, 3.0]])
    assert rank_listed(scores, torch.tensor([[0.5, 0.9, 0.1]])).tolist() == [[2.0, 1.0, 3.0]]
    assert rank_listed(scores, torch.zeros(1, 3)).tolist() == scores.tolist()


def test_reranking_is_over_the_students_candidates_in_the_teachers_order() -> None:
    student = torch.tensor([[4.0, 3.0, 2.0, -5.0]], dtype=torch.float64).log_softmax(-1)
    teacher = torch.tensor([[0.0, 2.0, 1.0, 9.0]], dtype=torch.float64).log_softmax(-1)
    expected = plackett_luce(student[:, [1, 2, 0]])
    torch.testing.assert_close(Reranking(3)(student, teacher), expected, **EXACT)
    torch.testing.assert_close(
        Reranking(3, released=True)(student, teacher), prefix_plackett_luce(student[:, [1, 2, 0]]), **EXACT
    )


def test_the_weight_is_a_half_at_equal_entropies_and_carries_no_gradient() -> None:
    student = logits(1)[:1].log_softmax(-1)
    shuffled = student[:, [2, 0, 1, 5, 4, 3]]
    jsd = generalised_jsd(0.9)
    torch.testing.assert_close(WeightedJSD(0.9)(student, shuffled), 0.5 * jsd(student, shuffled), **EXACT)
    z, teacher = logits(2)
    weight = torch.sigmoid(entropy(z.log_softmax(-1)[None]) - entropy(teacher.log_softmax(-1)[None]))
    torch.testing.assert_close(exact(WeightedJSD(0.9), z, teacher)[1], weight * exact(jsd, z, teacher)[1], **EXACT)


def two_responses(entropies: list[float], first: int):
    count = len(entropies)
    turn = torch.tensor([0] * first + [1] * (count - first))
    zero = torch.zeros(count, dtype=torch.float64)
    return statistics(
        torch.arange(count) % 6, zero, zero, turn=turn, old_entropy=torch.tensor(entropies, dtype=torch.float64)
    )


def test_opening_tokens_reach_the_share_of_their_own_response() -> None:
    # First response: sum 10, a tenth is 1: tokens before which less than 1 was spent. Second: all in the first token.
    tokens = two_responses([0.4, 0.5, 0.3, 8.8, 5.0, 0.1], first=4)
    assert opening_tokens(tokens, 0.1).tolist() == pytest.approx([4 / 3, 4 / 3, 4 / 3, 0.0, 2.0, 0.0])
    assert opening_tokens(tokens, 1.0).tolist() == pytest.approx([1.0] * 6)


def test_wavering_tokens_are_the_share_of_highest_entropy() -> None:
    tokens = two_responses([0.4, 0.5, 0.3, 8.8, 5.0, 0.1], first=4)
    assert wavering_tokens(tokens, 0.5).tolist() == pytest.approx([0.0, 2.0, 0.0, 2.0, 2.0, 0.0])
    assert wavering_tokens(tokens, 0.01).tolist() == pytest.approx([0.0, 0.0, 0.0, 4.0, 2.0, 0.0])


def test_a_certain_response_has_no_opening() -> None:
    assert opening_tokens(two_responses([0.0, 0.0, 0.0], first=2), 0.1).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("ranking", ["plackett-luce", "released"])
@pytest.mark.parametrize("chunk", [1, 2, 6])
def test_the_loss_is_the_sum_of_its_terms(ranking: str, chunk: int) -> None:
    config = TsdKdConfig(candidates=3, opening=0.3, entropy_share=0.5, entropy=0.2, ranking=ranking)
    student, teacher = logits(4, rows=6), logits(5, rows=6)
    tokens = two_responses([0.4, 0.5, 0.3, 8.8, 5.0, 0.1], first=4)
    ones = torch.ones(6, dtype=torch.float64)
    leaf = student.clone().requires_grad_()
    s, t = leaf.log_softmax(-1), teacher.log_softmax(-1)
    expected = WeightedJSD(0.9)(s, t)
    expected = expected + 0.1 * opening_tokens(tokens, 0.3) * Reranking(3, released=ranking == "released")(s, t)
    expected = expected + 0.2 * wavering_tokens(tokens, 0.5) * student_entropy(s, t)
    (slope,) = torch.autograd.grad(expected.sum(), leaf)
    _, values, grad = through_kernel(TsdKdLoss(config).objective, student, teacher, tokens, ones, chunk=chunk)
    torch.testing.assert_close(values, expected.detach(), **EXACT)
    torch.testing.assert_close(grad, slope, **EXACT)


def test_what_it_needs() -> None:
    loss = TsdKdLoss(TsdKdConfig())
    assert loss.needs == {"old_entropy"} and loss.request.hidden and loss.objective.needs_hidden
