"""The trust region on probabilities: which tokens are dropped, and what still pulls on them."""

from __future__ import annotations

import math

import pytest
import torch
from made_rewarded import tokens

from agentdistill_surrogates.ppo import Ppo, PpoConfig
from agentdistill_surrogates.trust_region import TrustRegion, TrustRegionConfig

pytestmark = pytest.mark.oracle

OLD = [0.9, 0.9, 0.5, 0.5, 0.01, 0.5]
NOW = [0.6, 0.8, 0.8, 0.8, 0.001, 0.2]
ADVANTAGE = [1.0, 1.0, 1.0, -1.0, -1.0, -1.0]


def kept(**options) -> list[bool]:
    t = tokens([[6]], old=[math.log(p) for p in OLD])
    leaf = torch.tensor([math.log(p) for p in NOW], dtype=torch.float64, requires_grad=True)
    surrogate = TrustRegion(TrustRegionConfig(drift=0.0, **options))
    value = surrogate.values(leaf, t, torch.tensor(ADVANTAGE, dtype=torch.float64))
    (slope,) = torch.autograd.grad(value.sum(), leaf)
    return (slope != 0).tolist()


def test_sides():
    # The fifth fell to a tenth, which is nothing: 0.009. The sixth fell by 0.3, the first too.
    assert kept() == [False, True, True, True, True, False]
    assert kept(sides="sign") == [True, True, False, True, True, False]
    assert kept(sides="both") == [False, True, False, False, True, False]
    assert kept(radius=0.05) == [False, False, True, True, True, False]


def test_drift_pulls_on_every_token_and_only_it_on_dropped_ones():
    t = tokens([[2]], old=[math.log(0.9), math.log(0.5)])
    leaf = torch.tensor([math.log(0.6), math.log(0.5)], dtype=torch.float64, requires_grad=True)
    advantage = torch.tensor([3.0, 2.0], dtype=torch.float64)
    value = TrustRegion(TrustRegionConfig(drift=0.01)).values(leaf, t, advantage)
    (slope,) = torch.autograd.grad(value.sum(), leaf)
    gap = math.log(0.6 / 0.9)
    assert value.tolist() == pytest.approx([0.01 * gap**2, -2.0])
    assert slope.tolist() == pytest.approx([0.02 * gap, -2.0])


def test_on_policy_it_is_the_policy_gradient():
    t = tokens([[20]])
    advantage = torch.linspace(-1, 1, 20, dtype=torch.float64)
    slopes = []
    for surrogate in (TrustRegion(TrustRegionConfig()), Ppo(PpoConfig())):
        leaf = t.old_logprob.clone().requires_grad_()
        slopes.append(torch.autograd.grad(surrogate.values(leaf, t, advantage).sum(), leaf)[0])
    torch.testing.assert_close(slopes[0], slopes[1])
