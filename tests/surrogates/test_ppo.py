"""The clipped ratio: values, where its gradient stops, and what it is at ratio 1."""

from __future__ import annotations

import math

import pytest
import torch
from made_rewarded import tokens
from pydantic import ValidationError

from agentdistill.learner.surrogates import ClippedRatio
from agentdistill.plugins import PluginRegistry
from agentdistill_surrogates.ppo import Ppo, PpoConfig

pytestmark = pytest.mark.oracle


def at_ratio(surrogate, ratio: float, advantage: float) -> tuple[float, float]:
    """Loss and its derivative with respect to the log-probability, at a ratio."""
    t = tokens([[1]], old=[-1.0])
    logprob = torch.tensor([-1.0 + math.log(ratio)], dtype=torch.float64, requires_grad=True)
    value = surrogate.values(logprob, t, torch.tensor([advantage], dtype=torch.float64))
    (slope,) = torch.autograd.grad(value.sum(), logprob)
    return value.item(), slope.item()


@pytest.mark.parametrize(
    ("ratio", "advantage", "value", "slope"),
    [
        (1.0, 2.0, -2.0, -2.0),
        (1.0, -2.0, 2.0, 2.0),
        (1.1, 2.0, -2.2, -2.2),  # inside
        (1.5, 2.0, -2.56, 0.0),  # above 1.28: risen enough
        (1.5, -2.0, 3.0, 3.0),  # risen against its advantage: not clipped
        (0.5, 2.0, -1.0, -1.0),  # fallen against its advantage: not clipped
        (0.5, -2.0, 1.6, 0.0),  # below 0.8: fallen enough
        (5.0, -2.0, 6.0, 0.0),  # the dual clip: at most 3 |A|
    ],
)
def test_worked_values(ratio, advantage, value, slope):
    got = at_ratio(Ppo(PpoConfig(clip_high=0.28)), ratio, advantage)
    assert got == pytest.approx((value, slope), abs=1e-12)


def test_without_the_dual_clip_a_bad_token_counts_fully():
    assert at_ratio(Ppo(PpoConfig(dual_clip=None)), 5.0, -2.0) == pytest.approx((10.0, 10.0))
    assert PpoConfig.model_validate({"dual_clip": False}).dual_clip is None


def test_default_is_the_core_s_own_clip_bit_for_bit():
    t = tokens([[400]], dtype=torch.float32)
    generator = torch.Generator().manual_seed(3)
    logprob = (t.old_logprob + 0.8 * torch.randn(400, generator=generator)).requires_grad_()
    advantage = torch.randn(400, generator=generator)
    ours, core = (s.values(logprob, t, advantage) for s in (Ppo(PpoConfig()), ClippedRatio()))
    assert torch.equal(ours, core)
    gradients = [torch.autograd.grad(v.sum(), logprob, retain_graph=True)[0] for v in (ours, core)]
    assert torch.equal(*gradients) and 0.05 < float((gradients[0] == 0).double().mean()) < 0.95


def test_bounds_are_checked():
    for wrong in ({"clip_low": 1.5}, {"clip_high": 0.0}, {"dual_clip": 0.5}, {"clip": 0.1}):
        with pytest.raises(ValidationError):
            PpoConfig.model_validate(wrong)


def test_every_surrogate_is_registered_and_takes_an_empty_and_a_single_token():
    registry = PluginRegistry.load()
    names = ["ppo", "importance-sampling", "reinforce", "truncated", "trust-region", "trrd", "bapo"]
    for name in names:
        surrogate = registry.build("surrogate", {"type": name})
        for turns in ([[]], [[1]]):
            t = tokens(turns)
            advantage = torch.ones(len(t), dtype=torch.float64)
            prepared = surrogate.prepare(t, advantage)
            logprob = t.old_logprob.clone().requires_grad_()
            value = prepared.values(logprob, t, advantage)
            assert value.shape == (len(t),)
            (slope,) = torch.autograd.grad(value.sum(), logprob)
            if name != "trrd":  # whose ratio is not 1 on-policy
                assert torch.allclose(value.detach(), -advantage) and torch.allclose(slope, -advantage)
