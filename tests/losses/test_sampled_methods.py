"""Losses on sampled tokens: expected values and gradients by enumeration of the vocabulary, float64, 1e-10."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from made_losses import every_token, exact, expectation, logits, statistics, through_kernel
from torch import Tensor

from agentdistill.learner.progress import LearnerProgress
from agentdistill_losses.divergences import ForwardKL, ReverseKL
from agentdistill_losses.eopd import EopdConfig, EopdLoss
from agentdistill_losses.kdrl import KdrlConfig, KdrlLoss
from agentdistill_losses.reopold import ReopoldConfig, ReopoldLoss, highest
from agentdistill_losses.stableopd import StableOpdConfig, StableOpdLoss
from agentdistill_losses.supports import TeacherTopK, bucketed, entropy, top_ids
from agentdistill_losses.tropd import TropdConfig, TropdLoss
from agentdistill_losses.vopd import ControlVariate, VopdConfig, VopdLoss

pytestmark = pytest.mark.oracle

EXACT = {"rtol": 0.0, "atol": 1e-10}
SEEDS = pytest.mark.parametrize("seed", range(4))


def teacher_facts(teacher: Tensor) -> dict[str, Tensor]:
    """The teacher's entropy for each token of an enumeration."""
    return {"teacher_entropy": entropy(teacher.log_softmax(-1)[None]).expand(len(teacher))}


class TestControlVariate:
    @SEEDS
    def test_expected_advantage_is_zero(self, seed: int) -> None:
        student, teacher = logits(seed, scale=2.0)
        tokens = every_token(student, teacher)
        rows = [x.log_softmax(-1).repeat(len(x), 1) for x in (student, teacher)]
        advantage = ControlVariate(VopdConfig(), tokens).advantage(*rows)
        assert abs(float((student.softmax(-1) * advantage).sum())) < 1e-10

    @SEEDS
    @pytest.mark.parametrize("options", [{}, {"baseline": "topk", "k": 2}, {"baseline": "topk", "k": 100}])
    def test_expected_gradient_is_the_reverse_kls(self, seed: int, options: dict[str, object]) -> None:
        student, teacher = logits(seed)
        _, grad = expectation(VopdLoss(VopdConfig(**options)).objective, student, teacher)
        torch.testing.assert_close(grad, exact(ReverseKL(), student, teacher)[1], **EXACT)

    @SEEDS
    def test_a_top_k_of_everything_is_the_full_baseline(self, seed: int) -> None:
        student, teacher = logits(seed)
        tokens = every_token(student, teacher)
        rows = [x.log_softmax(-1).repeat(len(x), 1) for x in (student, teacher)]
        full, top = (
            ControlVariate(VopdConfig(**o), tokens).advantage(*rows) for o in ({}, {"baseline": "topk", "k": 6})
        )
        torch.testing.assert_close(full, top, **EXACT)

    def test_analytic_gradient_is_that_of_automatic_differentiation(self) -> None:
        student, teacher = logits(3)
        tokens = dataclasses.replace(every_token(student, teacher), old_logprob=teacher.log_softmax(-1))
        bound = ControlVariate(VopdConfig(), tokens)
        rows = student.repeat(6, 1).requires_grad_(), teacher.log_softmax(-1).repeat(6, 1)
        value = bound(rows[0].log_softmax(-1), rows[1])
        (slope,) = torch.autograd.grad(value.sum(), rows[0])
        got, grad = bound.with_gradient(rows[0].detach().log_softmax(-1), rows[1].clone())
        torch.testing.assert_close(got, value.detach(), **EXACT)
        torch.testing.assert_close(grad, slope, **EXACT)

    def test_variance_is_lower_in_the_median_over_states(self) -> None:
        ratios = []
        for seed in range(200):
            student, teacher = logits(1000 + seed)
            q, gap = student.softmax(-1), teacher.log_softmax(-1) - student.log_softmax(-1)
            score = torch.eye(6, dtype=torch.float64) - q
            spreads = []
            for advantage in (gap, gap - (q * gap).sum()):
                samples = advantage[:, None] * score
                mean = (q[:, None] * samples).sum(0)
                spreads.append(float((q[:, None] * (samples - mean) ** 2).sum()))
            ratios.append(spreads[1] / spreads[0])
        assert float(torch.tensor(ratios).median()) < 1.0


class TestEntropyAware:
    @SEEDS
    @pytest.mark.parametrize("threshold", [0.0, 10.0])
    @pytest.mark.parametrize("k", [1, 3, 16])
    def test_expected_gradient(self, seed: int, threshold: float, k: int) -> None:
        student, teacher = logits(seed)
        config = EopdConfig(threshold=threshold, k=k, forward=0.7)
        _, grad = expectation(EopdLoss(config).objective, student, teacher, **teacher_facts(teacher))
        expected = exact(ReverseKL(), student, teacher)[1]
        if threshold == 0.0:
            expected = expected + 0.7 * exact(TeacherTopK(ForwardKL(), k), student, teacher)[1]
        torch.testing.assert_close(grad, expected, **EXACT)

    @SEEDS
    def test_exact_reverse_has_the_expected_value_and_gradient(self, seed: int) -> None:
        student, teacher = logits(seed)
        config = EopdConfig(threshold=0.0, k=2, reverse="exact", tail="renormalise")
        value, grad = expectation(EopdLoss(config).objective, student, teacher, **teacher_facts(teacher))
        for got, part, other in zip(
            (value, grad),
            exact(ReverseKL(), student, teacher),
            exact(TeacherTopK(ForwardKL(), 2, renormalise=True), student, teacher),
            strict=True,
        ):
            torch.testing.assert_close(got, part + other, **EXACT)

    def test_only_undecided_tokens_get_the_forward_kl(self) -> None:
        tokens = statistics(
            torch.arange(3), torch.zeros(3), torch.zeros(3), teacher_entropy=torch.tensor([0.7, 0.9, 2])
        )
        assert EopdLoss(EopdConfig(forward=0.5)).undecided(tokens).tolist() == [0.0, 0.5, 0.5]

    def test_request(self) -> None:
        asked = EopdLoss(EopdConfig()).request
        assert asked.entropy and asked.top_k == 16 and not asked.hidden


class TestTrustRegion:
    @SEEDS
    @pytest.mark.parametrize("k", [1, 3, 16])
    def test_expected_gradient(self, seed: int, k: int) -> None:
        student, teacher = logits(seed, scale=1.5)
        _, grad = expectation(TropdLoss(TropdConfig(k=k)).objective, student, teacher)
        q, p = student.softmax(-1), teacher.softmax(-1)
        inside = torch.minimum(p / q, torch.ones_like(q))
        score = torch.eye(6, dtype=torch.float64) - q
        sampled = -(q * inside * (p / q).log())[:, None] * score
        outside = (q * (1 - inside)).sum() * exact(TeacherTopK(ForwardKL(), k), student, teacher)[1]
        torch.testing.assert_close(grad, sampled.sum(0) + outside, **EXACT)

    @SEEDS
    def test_masking_drops_the_outliers(self, seed: int) -> None:
        student, teacher = logits(seed)
        _, grad = expectation(TropdLoss(TropdConfig(outliers="mask")).objective, student, teacher)
        q, p = student.softmax(-1), teacher.softmax(-1)
        inside = torch.minimum(p / q, torch.ones_like(q))
        score = torch.eye(6, dtype=torch.float64) - q
        torch.testing.assert_close(grad, (-(q * inside * (p / q).log())[:, None] * score).sum(0), **EXACT)
        assert TropdLoss(TropdConfig(outliers="mask")).request.top_k == 0


class TestRelaxed:
    ROOMY = LearnerProgress(0, 10)
    LATE = LearnerProgress(5, 10)

    def tokens(self) -> object:
        gap = torch.tensor([-5.0, -1.0, 0.0, 0.5, 30.0])
        return statistics(torch.arange(5), torch.zeros(5), gap, old_entropy=torch.tensor([0.1, 2.0, 0.3, 1.5, 0.2]))

    def test_exploration_by_hand(self) -> None:
        objective = ReopoldLoss(ReopoldConfig()).at(self.ROOMY)
        expected = [0.0, -1.0 * 5 / 4, 0.0, 0.5 * 5 / 4, 20.0 * 5 / 4]
        assert objective.clipped_advantage(self.tokens()).tolist() == pytest.approx(expected)

    def test_refinement_by_hand(self) -> None:
        loss = ReopoldLoss(ReopoldConfig(entropy_share=0.4))
        assert loss.at(self.LATE).clipped_advantage(self.tokens()).tolist() == pytest.approx([0, -2.5, 0, 1.25, 0])
        assert "old_entropy" in loss.needs
        assert not ReopoldLoss(ReopoldConfig(switch=1.0)).needs

    def test_floor(self) -> None:
        loss = ReopoldLoss(ReopoldConfig(mixture=0.2, switch=0.0, entropy_share=1.0))
        assert loss.floor == pytest.approx(math.log(0.25))
        assert float(loss.at(self.ROOMY).clipped_advantage(self.tokens())[0]) == pytest.approx(math.log(0.25))

    @SEEDS
    def test_without_relief_it_is_plain_distillation(self, seed: int) -> None:
        student, teacher = logits(seed)
        loss = ReopoldLoss(ReopoldConfig(mixture=1e-9, switch=1.0))
        _, grad = expectation(loss.at(self.ROOMY), student, teacher)
        torch.testing.assert_close(grad, exact(ReverseKL(), student, teacher)[1], **EXACT)

    def test_highest_share(self) -> None:
        assert highest(torch.tensor([3.0, 1.0, 2.0, 3.0]), 0.25).tolist() == [True, False, False, True]
        assert highest(torch.zeros(0), 0.5).tolist() == []

    @pytest.mark.parametrize("mixture", [0.0, 0.7])
    def test_a_floor_above_zero_is_refused(self, mixture: float) -> None:
        with pytest.raises(ValueError, match="mixture"):
            ReopoldConfig(mixture=mixture)


class TestAnchor:
    @SEEDS
    def test_expected_gradient_pulls_to_teacher_and_beginning(self, seed: int) -> None:
        student, teacher, beginning = logits(seed, rows=3)
        loss = StableOpdLoss(StableOpdConfig(beta=0.3))
        _, grad = expectation(loss.objective, student, teacher, reference_logprob=beginning.log_softmax(-1))
        expected = exact(ReverseKL(), student, teacher)[1] + 0.3 * exact(ReverseKL(), student, beginning)[1]
        torch.testing.assert_close(grad, expected, **EXACT)
        assert loss.needs == {"reference"}

    def test_no_anchor_needs_no_reference(self) -> None:
        student, teacher = logits(0)
        loss = StableOpdLoss(StableOpdConfig(beta=0.0))
        assert not loss.needs
        _, grad = expectation(loss.objective, student, teacher)
        torch.testing.assert_close(grad, exact(ReverseKL(), student, teacher)[1], **EXACT)


class TestJoint:
    def progress(self, step: int) -> LearnerProgress:
        return LearnerProgress(step, 101)

    @SEEDS
    def test_expected_gradient_is_beta_times_the_reverse_kls(self, seed: int) -> None:
        student, teacher = logits(seed)
        _, grad = expectation(KdrlLoss(KdrlConfig(beta=0.2)).at(self.progress(0)), student, teacher)
        torch.testing.assert_close(grad, 0.2 * exact(ReverseKL(), student, teacher)[1], **EXACT)

    def test_schedule(self) -> None:
        loss = KdrlLoss(KdrlConfig(beta=0.2, beta_min=0.002))
        assert loss.beta(self.progress(0)) == 0.2
        assert loss.beta(self.progress(50)) == pytest.approx(0.101)
        assert loss.beta(self.progress(100)) == pytest.approx(0.002)
        fast = KdrlLoss(KdrlConfig(beta=0.2, beta_min=0.05, decay=0.1))
        assert [round(fast.beta(self.progress(s)), 6) for s in range(4)] == [0.2, 0.1, 0.05, 0.05]

    def test_the_mask_leaves_successes_alone(self) -> None:
        student, teacher = logits(2)
        success = torch.tensor([True, False, True, False, True, False])
        tokens = every_token(student, teacher, success=success)
        objective = KdrlLoss(KdrlConfig(failures_only=True)).at(self.progress(0))
        ones = torch.ones(6, dtype=torch.float64)
        _, values, grad = through_kernel(objective, student.repeat(6, 1), teacher.repeat(6, 1), tokens, ones)
        assert values[success].tolist() == [0.0] * 3 and float(grad[success].abs().max()) == 0.0
        assert float(values[~success].min()) > 0.0

    def test_a_coefficient_that_rises_is_refused(self) -> None:
        with pytest.raises(ValueError, match="only falls"):
            KdrlConfig(beta=0.1, beta_min=0.2)


def test_top_k_with_bucket_from_wholes_is_the_kernels() -> None:
    """`TeacherTopK` on whole distributions is what the core computes from a teacher's top k."""
    student, teacher = logits(9, rows=2, vocabulary=8)
    ids = top_ids(teacher[None], 3)
    merged = [bucketed(x.log_softmax(-1)[None], ids) for x in (student, teacher)]
    torch.testing.assert_close(exact(TeacherTopK(ForwardKL(), 3), student, teacher)[0], ForwardKL()(*merged)[0])
