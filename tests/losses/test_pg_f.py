"""The policy gradient of any f-divergence: its expectation over a vocabulary is the full divergence's gradient."""

from __future__ import annotations

import pytest
import torch
from made_losses import every_token, exact, expectation, logits
from pydantic import ValidationError

from agentdistill.learner.losses import Loss
from agentdistill_losses.divergences import ForwardKL, GeneralisedJSD, ReverseKL
from agentdistill_losses.fdivergences import ChiSquare, TotalVariation, alpha_divergence
from agentdistill_losses.opd import OpdConfig, OpdLoss
from agentdistill_losses.pg_f import FPolicyGradientConfig, FPolicyGradientLoss, advantage_of
from agentdistill_losses.skew import SkewKL, SkewReverseKL

pytestmark = pytest.mark.oracle

WIDE = {"advantage_clip": 1e12}
CASES = [
    ({"divergence": "reverse-kl"}, ReverseKL()),
    ({"divergence": "forward-kl"}, ForwardKL()),
    ({"divergence": "chi-square"}, ChiSquare()),
    ({"divergence": "total-variation"}, TotalVariation()),
    ({}, GeneralisedJSD(0.5)),
    ({"divergence": "jsd", "beta": 0.1}, GeneralisedJSD(0.1)),
    ({"divergence": "jsd", "beta": 0.9}, GeneralisedJSD(0.9)),
    *(({"divergence": "alpha", "alpha": a}, alpha_divergence(a)) for a in (0.0, 0.3, 1.0, 2.0)),
    *(({"divergence": "skew-kl", "skew": s}, SkewKL(s)) for s in (0.1, 0.7)),
    *(({"divergence": "skew-reverse-kl", "skew": s}, SkewReverseKL(s)) for s in (0.1, 0.7)),
]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("options", "divergence"), CASES)
def test_expected_gradient_is_the_divergence_s(options, divergence, seed):
    student, teacher = logits(seed, scale=1.5)
    objective = FPolicyGradientLoss(FPolicyGradientConfig(**options, **WIDE)).objective
    _, got = expectation(objective, student, teacher)
    _, expected = exact(divergence.__call__, student, teacher)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("options", "divergence"), CASES)
def test_a_student_that_equals_its_teacher_has_nothing_to_learn(options, divergence):
    same = logits(3, rows=1)[0]
    loss = FPolicyGradientLoss(FPolicyGradientConfig(**options))
    value, grad = expectation(loss.objective, same, same)
    assert float(value) == 0 and (grad == 0).all() and isinstance(loss, Loss)


def test_reverse_kl_is_opd_and_the_limits_of_alpha():
    student, teacher = logits(8)
    tokens = every_token(student, teacher)
    ours = FPolicyGradientLoss(FPolicyGradientConfig(divergence="reverse-kl")).objective
    assert torch.equal(ours.clipped_advantage(tokens), OpdLoss(OpdConfig()).objective.clipped_advantage(tokens))
    x = torch.linspace(-3, 3, 31, dtype=torch.float64)
    small = advantage_of(FPolicyGradientConfig(divergence="alpha", alpha=1e-7))(x)
    torch.testing.assert_close(small, x, atol=1e-5, rtol=0)
    one = advantage_of(FPolicyGradientConfig(divergence="alpha", alpha=1.0))(x)
    torch.testing.assert_close(one, advantage_of(FPolicyGradientConfig(divergence="forward-kl"))(x))


@pytest.mark.parametrize(("options", "divergence"), CASES)
def test_advantages_rise_with_the_ratio_and_stay_finite_in_float32(options, divergence):
    x = torch.linspace(-20, 20, 801)
    advantage = advantage_of(FPolicyGradientConfig(**options))(x)
    assert torch.isfinite(advantage).all() and (advantage.diff() >= -1e-5).all()
    assert (advantage_of(FPolicyGradientConfig(**options))(torch.tensor([0.0, 1e-7])).abs() < 1e-6).all()


def test_bounded_ones_are_bounded():
    x = torch.tensor([-20.0, 20.0])
    for options, low, high in (
        ({"divergence": "total-variation"}, -0.5, 0.5),
        ({"divergence": "skew-kl"}, -0.9, 8.1),
    ):
        assert advantage_of(FPolicyGradientConfig(**options))(x).tolist() == pytest.approx([low, high], rel=1e-5)
    assert float(advantage_of(FPolicyGradientConfig())(x)[0]) == pytest.approx(-0.3465736, rel=1e-4)


def test_parameters_of_another_divergence_are_rejected():
    for wrong in ({"divergence": "reverse-kl", "alpha": 1.0}, {"skew": 0.1}, {"divergence": "alpha", "beta": 0.5}):
        with pytest.raises(ValidationError, match="says nothing about"):
            FPolicyGradientConfig.model_validate(wrong)
