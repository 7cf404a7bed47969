"""Losses with another target: Veto's bridge, the point-wise clip, graphs on logits, the curious target."""

from __future__ import annotations

import math

import pytest
import torch
from made_losses import every_token, exact, logits, statistics, through_kernel

from agentdistill.learner.losses import divergence_with_gradient
from agentdistill.learner.progress import LearnerProgress
from agentdistill_losses.curiosft import CuriosftConfig, CuriousTarget, tempering
from agentdistill_losses.divergences import ForwardKL, ReverseKL
from agentdistill_losses.infigfusion import GraphObjective, InfigfusionConfig, InfigfusionLoss, node_features
from agentdistill_losses.opsd import ClippedForwardKL, OpsdConfig, OpsdLoss
from agentdistill_losses.supports import entropy
from agentdistill_losses.veto import BridgedTarget, VetoConfig, VetoLoss

pytestmark = pytest.mark.oracle

SEEDS = pytest.mark.parametrize("seed", range(4))
EXACT = {"rtol": 0.0, "atol": 1e-10}


class TestVeto:
    @SEEDS
    @pytest.mark.parametrize("base", [ForwardKL(), ReverseKL()])
    def test_without_bridge_it_is_the_base(self, seed: int, base: ForwardKL | ReverseKL) -> None:
        student, teacher = logits(seed).log_softmax(-1)[:, None]
        value, grad = divergence_with_gradient(BridgedTarget(base, 0.0), student.clone(), teacher.clone())
        expected, slope = divergence_with_gradient(base, student.clone(), teacher.clone())
        torch.testing.assert_close(value, expected, **EXACT)
        torch.testing.assert_close(grad, slope, **EXACT)

    @SEEDS
    @pytest.mark.parametrize("base", [ForwardKL(), ReverseKL()])
    @pytest.mark.parametrize("beta", [0.3, 1.0])
    def test_target_is_the_normalised_geometric_bridge(self, seed: int, base: ReverseKL, beta: float) -> None:
        z, teacher = logits(seed)
        p, q = teacher.softmax(-1), z.softmax(-1)
        bridge = p * q**beta
        bridge = bridge / bridge.sum()
        leaf = z.clone().requires_grad_()
        expected = base(leaf.log_softmax(-1)[None], bridge.log()[None])
        (slope,) = torch.autograd.grad(expected.sum(), leaf)
        divergence = BridgedTarget(base, beta)
        value, grad = divergence.with_gradient(z.log_softmax(-1)[None], teacher.log_softmax(-1)[None])
        torch.testing.assert_close(value, expected.detach(), **EXACT)
        torch.testing.assert_close(grad[0], slope, **EXACT)

    def test_schedule_ends_at_zero(self) -> None:
        loss = VetoLoss(VetoConfig(beta=0.8, until=0.5))
        assert [loss.beta(LearnerProgress(s, 8)) for s in range(8)] == pytest.approx([0.8, 0.6, 0.4, 0.2, 0, 0, 0, 0])
        assert loss.at(LearnerProgress(4, 8)).divergence.beta == 0.0  # type: ignore[attr-defined]
        assert VetoLoss(VetoConfig(until=1.0)).beta(LearnerProgress(7, 8)) == pytest.approx(0.1)

    def test_at_equality_the_target_is_sharper(self) -> None:
        same = logits(1).log_softmax(-1)[:1]
        target = BridgedTarget(ForwardKL(), 0.5).target(same, same.clone())
        assert float(entropy(target)) < float(entropy(same))

    def test_the_gradient_is_small_where_the_student_has_no_mass(self) -> None:
        """What is vetoed: a token the teacher wants and the student thinks impossible."""
        student = torch.tensor([[12.0, 0.0, 0.0]], dtype=torch.float64).log_softmax(-1)
        teacher = torch.tensor([[0.0, 2.0, 0.0]], dtype=torch.float64).log_softmax(-1)
        plain = ForwardKL().with_gradient(student.clone(), teacher.clone())[1]
        vetoed = BridgedTarget(ForwardKL(), 1.0).with_gradient(student.clone(), teacher.clone())[1]
        assert float(vetoed[0, 1].abs()) < 1e-3 < float(plain[0, 1].abs())


class TestPointwiseClip:
    @SEEDS
    @pytest.mark.parametrize("clip", [0.01, 0.05, 0.5])
    def test_values_and_gradient(self, seed: int, clip: float) -> None:
        z, teacher = logits(seed, scale=2.0)
        p, lp, lq = teacher.softmax(-1), teacher.log_softmax(-1), z.log_softmax(-1)
        by_hand = sum(min(float(a * (b - c)), clip) for a, b, c in zip(p, lp, lq, strict=True))
        value, slope = exact(ClippedForwardKL(clip), z, teacher)
        assert float(value) == pytest.approx(by_hand, abs=1e-10)
        got, grad = ClippedForwardKL(clip).with_gradient(lq[None].clone(), lp[None].clone())
        torch.testing.assert_close(got[0], value, **EXACT)
        torch.testing.assert_close(grad[0], slope, **EXACT)

    @SEEDS
    def test_no_clip_is_the_forward_kl(self, seed: int) -> None:
        student, teacher = logits(seed)
        for got, expected in zip(
            exact(ClippedForwardKL(math.inf), student, teacher), exact(ForwardKL(), student, teacher), strict=True
        ):
            torch.testing.assert_close(got, expected, **EXACT)

    def test_default_is_the_papers(self) -> None:
        loss = OpsdLoss(OpsdConfig())
        assert loss.objective.divergence.clip == 0.05 and loss.request.hidden  # type: ignore[attr-defined]


def nothing(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """A divergence that is always 0."""
    return 0.0 * student.sum(-1)


def graphs(student: torch.Tensor, teacher: torch.Tensor, turn: list[int], k: int = 4) -> torch.Tensor:
    """The distance of the explicit graphs of the response of each row."""
    rows = torch.tensor(turn)
    found = []
    for t in turn:
        features = []
        for side in (student[rows == t], teacher[rows == t]):
            z = side.topk(k).values.log_softmax(-1) + math.log(k)
            matrix = (z[:, :, None] * z[:, None, :]).mean(0)
            features.append(matrix.mean(1).sort().values)
        found.append((features[0] - features[1]).square().sum() / (k + features[1].square().sum()))
    return torch.stack(found)


class TestGraph:
    def run(self, objective: GraphObjective, student: torch.Tensor, teacher: torch.Tensor, turn: list[int]):
        rows = torch.zeros(len(turn), dtype=torch.float64)
        tokens = statistics(torch.zeros(len(turn), dtype=torch.int64), rows, rows, turn=torch.tensor(turn))
        return through_kernel(objective, student, teacher, tokens, rows + 1.0, chunk=2)[1:]

    @SEEDS
    @pytest.mark.parametrize("turn", [[0, 0, 0, 0, 0], [0, 0, 1, 1, 1], [0, 1, 2, 3, 4]])
    def test_value_and_gradient_are_those_of_the_explicit_graphs(self, seed: int, turn: list[int]) -> None:
        student, teacher = logits(seed, rows=5, vocabulary=9), logits(seed + 100, rows=5, vocabulary=9)
        leaf = student.clone().requires_grad_()
        expected = 0.5 * graphs(leaf, teacher, turn) + ReverseKL()(leaf.log_softmax(-1), teacher.log_softmax(-1))
        (slope,) = torch.autograd.grad(expected.sum(), leaf)
        values, grad = self.run(GraphObjective(ReverseKL(), 0.5, 4), student, teacher, turn)
        torch.testing.assert_close(values, expected.detach(), **EXACT)
        torch.testing.assert_close(grad, slope, **EXACT)

    @SEEDS
    def test_invariant_under_shift_and_renaming(self, seed: int) -> None:
        row = logits(seed, rows=1, vocabulary=9)
        renamed = row[:, torch.randperm(9, generator=torch.Generator().manual_seed(seed))]
        torch.testing.assert_close(node_features(row + 3.7, 4), node_features(renamed, 4), **EXACT)

    def test_without_graph_it_is_the_base(self) -> None:
        student, teacher = logits(0), logits(1)
        loss = InfigfusionLoss(InfigfusionConfig(graph=0.0, divergence="forward-kl"))
        expected = [exact(ForwardKL(), s, t)[1] for s, t in zip(student, teacher, strict=True)]
        torch.testing.assert_close(
            self.run(loss.objective, student, teacher, [0, 0])[1], torch.stack(expected), **EXACT
        )

    def test_renaming_costs_the_base_only(self) -> None:
        teacher = logits(0)
        values, grad = self.run(GraphObjective(nothing, 1.0, 6), teacher[:, [1, 0, 2, 3, 4, 5]], teacher, [0, 0])
        assert float(values.abs().max()) < 1e-20 and float(grad.abs().max()) < 1e-10

    def test_it_sees_what_positions_alone_do_not(self) -> None:
        """Two positions that change places have other graphs each, and the same one together."""
        teacher = logits(2)
        apart, together = (
            self.run(GraphObjective(nothing, 1.0, 4), teacher.flip(0), teacher, t)[0] for t in ([0, 1], [0, 0])
        )
        assert float(apart.min()) > 1e-4 and float(together.abs().max()) < 1e-20


class TestCuriousTarget:
    @SEEDS
    def test_bisection_meets_its_target_or_ends_at_a_bound(self, seed: int) -> None:
        rows = logits(seed, rows=64, vocabulary=40, scale=3.0).log_softmax(-1)
        config = CuriosftConfig()
        tau = tempering(rows, config)
        start = entropy(rows)
        goal = start + 0.5 * torch.sigmoid(2 * (start - 1.2))
        reached = entropy((rows / tau).log_softmax(-1))
        low, high = (entropy((rows / t).log_softmax(-1)) for t in (config.low, config.high))
        inside = (low < goal) & (goal < high)
        assert int(inside.sum()) > 5
        torch.testing.assert_close(reached[inside], goal[inside], rtol=0, atol=1e-5)
        assert bool(((tau[~inside, 0] - 1.1).abs() < 1e-5).logical_or((tau[~inside, 0] - 1.5).abs() < 1e-5).all())

    def test_entropy_grows_with_temperature(self) -> None:
        row = logits(0)[:1].log_softmax(-1)
        values = [float(entropy((row / t).log_softmax(-1))) for t in (1.0, 1.1, 1.3, 1.5)]
        assert values == sorted(values)

    @SEEDS
    def test_value_by_hand(self, seed: int) -> None:
        student, teacher = logits(seed)
        config = CuriosftConfig(curiosity=0.4, imitation=0.9)
        target = CuriousTarget(config).at(every_token(student, teacher))
        rows = [x.log_softmax(-1).repeat(6, 1) for x in (student, teacher)]
        tau = float(tempering(rows[1][:1], config))
        goal = (teacher / tau).log_softmax(-1)
        ls = student.log_softmax(-1)
        torch.testing.assert_close(target(*rows), 0.4 * 0.5 * (ls - goal) ** 2 - 0.9 * ls, **EXACT)

    def test_without_curiosity_it_is_cross_entropy(self) -> None:
        student, teacher = logits(0)
        tokens = statistics(torch.tensor([2]), torch.zeros(1), torch.zeros(1))
        _, grad = exact(CuriousTarget(CuriosftConfig(curiosity=0.0)).at(tokens), student, teacher)
        expected = student.softmax(-1)
        expected[2] -= 1.0
        torch.testing.assert_close(grad, expected, **EXACT)
