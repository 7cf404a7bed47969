"""The `opd` loss: what it refuses, and the clipped surrogate."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from pydantic import ValidationError

from agentdistill.learner.losses import FullDivergence, Loss, PolicyGradient, SampledLoss
from agentdistill.learner.surrogates import ClippedRatio
from agentdistill_losses.divergences import ForwardKL, GeneralisedJSD, ReverseKL
from agentdistill_losses.estimators import k3
from agentdistill_losses.opd import OpdConfig, OpdLoss

REFUSED = [
    ({"gradient": "direct"}, "does not depend on the teacher"),
    ({"gradient": "direct", "estimator": "k1"}, "expectation zero"),
    ({"gradient": "direct", "estimator": "k3"}, "forward KL"),
    ({"divergence": "forward-kl", "gradient": "direct", "estimator": "k2"}, "sampled by the student"),
    ({"divergence": "forward-kl", "gradient": "direct"}, "sampled by the student"),
    ({"estimator": "k2"}, "policy gradient uses the log-ratio"),
    ({"gradient": "policy-gradient", "estimator": "k3"}, "policy gradient uses the log-ratio"),
    ({"divergence": "forward-kl"}, "sampled by the student"),
    ({"divergence": "jsd"}, "needs both distributions"),
    ({"temperature": 2.0}, "scored at 1"),
    ({"support": "full", "gradient": "policy-gradient"}, "differentiated exactly"),
    ({"support": "full", "estimator": "k2"}, "not estimated"),
    ({"beta": 1.5, "divergence": "jsd", "support": "full"}, "less than or equal to 1"),
    ({"divergance": "jsd"}, "Extra inputs"),
]


@pytest.mark.parametrize(("options", "reason"), REFUSED)
def test_impossible_combinations_are_refused_with_the_reason(options, reason):
    with pytest.raises(ValidationError, match=reason):
        OpdConfig(**options)


def test_default_is_the_clipped_policy_gradient_on_sampled_tokens():
    loss = OpdLoss(OpdConfig())
    assert isinstance(loss, Loss)
    objective = loss.objective
    assert isinstance(objective, PolicyGradient)
    assert objective.advantage_clip == 20.0 and objective.surrogate == ClippedRatio(low=0.2, high=0.2, dual=3.0)
    assert loss.request.sampled and not loss.request.hidden


@pytest.mark.parametrize(
    ("options", "kind"),
    [({"divergence": "forward-kl"}, ForwardKL), ({}, ReverseKL), ({"divergence": "jsd", "beta": 0.3}, GeneralisedJSD)],
)
def test_full_support_asks_for_hidden_states(options, kind):
    loss = OpdLoss(OpdConfig(support="full", **options))
    assert loss.request.hidden and loss.objective.needs_hidden
    assert isinstance(loss.objective, FullDivergence) and isinstance(loss.objective.divergence, kind)


def test_k3_is_the_direct_sampled_loss_of_the_forward_kl():
    objective = OpdLoss(OpdConfig(divergence="forward-kl", gradient="direct", estimator="k3")).objective
    assert isinstance(objective, SampledLoss) and objective.values is k3


def test_k2_is_the_direct_sampled_loss():
    assert isinstance(OpdLoss(OpdConfig(gradient="direct", estimator="k2")).objective, SampledLoss)


def slope(log_ratio: float, advantage: float) -> tuple[float, float]:
    ls = torch.tensor([log_ratio], dtype=torch.float64, requires_grad=True)
    zero = torch.zeros(1, dtype=torch.float64)
    tokens = SimpleNamespace(old_logprob=zero)
    value = ClippedRatio().values(ls, tokens, torch.tensor([advantage], dtype=torch.float64))
    (grad,) = torch.autograd.grad(value.sum(), ls)
    return float(value.detach()), float(grad)


def test_on_policy_the_value_is_minus_the_advantage_and_so_is_the_gradient():
    for advantage in (-2.0, -0.1, 0.3, 5.0):
        assert slope(0.0, advantage) == pytest.approx((-advantage, -advantage))


def test_clips_only_where_the_move_already_went_far_enough():
    up, down = 0.5, -0.5  # log-ratios outside 1 +- 0.2
    assert slope(up, 1.0)[1] == 0.0 and slope(up, 1.0)[0] == pytest.approx(-1.2)
    assert slope(down, 1.0)[1] != 0.0
    assert slope(down, -1.0)[1] == 0.0 and slope(down, -1.0)[0] == pytest.approx(0.8)
    assert slope(up, -1.0)[1] != 0.0


def test_dual_clip_bounds_the_loss_of_negative_advantages():
    value, grad = slope(2.0, -1.0)  # ratio 7.4 is beyond 3
    assert (value, grad) == (pytest.approx(3.0), 0.0)
    value, grad = slope(1.0, -1.0)  # ratio 2.7 is not
    assert value == pytest.approx(2.71828, rel=1e-4) and grad > 0


def test_huge_log_ratios_stay_finite():
    for log_ratio in (-200.0, 200.0):
        for advantage in (-20.0, 20.0):
            value, grad = slope(log_ratio, advantage)
            assert abs(value) < 1e12 and abs(grad) < 1e12
