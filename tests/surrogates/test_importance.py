"""Importance sampling, REINFORCE and truncated weights: exact expectations on stale samples."""

from __future__ import annotations

import pytest
import torch
from made_losses import logits
from made_rewarded import tokens
from pydantic import ValidationError

from agentdistill_surrogates.importance import ImportanceSampling, ImportanceSamplingConfig
from agentdistill_surrogates.ppo import Ppo, PpoConfig
from agentdistill_surrogates.reinforce import Reinforce, ReinforceConfig
from agentdistill_surrogates.truncated import Truncated, TruncatedConfig

pytestmark = pytest.mark.oracle

IS = ImportanceSampling(ImportanceSamplingConfig())
PLAIN = Reinforce(ReinforceConfig())


def gradient(surrogate, t, logprob, advantage) -> torch.Tensor:
    leaf = logprob.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(surrogate.values(leaf, t, advantage).sum(), leaf)
    return slope


@pytest.mark.parametrize("seed", range(5))
def test_importance_sampling_is_unbiased_on_samples_of_another_policy(seed):
    """sum_y pi_old(y) grad(-r A) = grad(-sum_y pi(y) A(y)), over every token of a vocabulary."""
    z = logits(seed, rows=2)
    old = z[0].log_softmax(-1)
    now = z[1].clone().requires_grad_()
    advantage = logits(seed + 100, rows=1)[0]
    t = tokens([[len(old)]], old=old)
    loss = (old.exp() * IS.values(now.log_softmax(-1), t, advantage)).sum()
    (got,) = torch.autograd.grad(loss, now)
    (expected,) = torch.autograd.grad(-(now.softmax(-1) * advantage).sum(), now)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)


def test_reinforce_ignores_the_old_policy_and_equals_ppo_on_policy():
    t, other = tokens([[9]], seed=1), tokens([[9]], seed=2)
    advantage = torch.linspace(-2, 2, 9, dtype=torch.float64)
    slopes = [gradient(PLAIN, batch, t.old_logprob, advantage) for batch in (t, other)]
    assert torch.equal(slopes[0], slopes[1]) and torch.equal(slopes[0], -advantage)
    torch.testing.assert_close(gradient(Ppo(PpoConfig()), t, t.old_logprob, advantage), slopes[0])
    assert torch.equal(PLAIN.values(t.old_logprob, t, advantage), -advantage)


def test_truncated_weights():
    ratios = torch.tensor([0.25, 0.5, 1.0, 1.9, 2.1, 8.0], dtype=torch.float64)
    t = tokens([[6]], old=[-3.0] * 6)
    logprob, advantage = t.old_logprob + ratios.log(), torch.tensor([1.0, -1.0] * 3, dtype=torch.float64)

    def weights(**options) -> list[float]:
        slope = gradient(Truncated(TruncatedConfig(**options)), t, logprob, advantage)
        return (-slope / advantage).tolist()

    assert weights() == pytest.approx([0.25, 0.5, 1.0, 1.9, 2.0, 2.0])
    assert weights(floor=0.5) == pytest.approx([0.5, 0.5, 1.0, 1.9, 2.0, 2.0])
    assert weights(floor=0.4, cap=5.0, outside="drop") == pytest.approx([0.0, 0.5, 1.0, 1.9, 2.1, 0.0])
    assert weights(cap=1e6) == pytest.approx((-gradient(IS, t, logprob, advantage) / advantage).tolist())


def test_an_empty_band_is_rejected():
    with pytest.raises(ValidationError, match="reinforce"):
        TruncatedConfig(cap=1.0, floor=1.0)


def test_a_broken_ratio_stays_finite():
    t = tokens([[2]], old=[-1000.0, 0.0])
    advantage = torch.tensor([1.0, -1.0], dtype=torch.float64)
    value = IS.values(torch.tensor([0.0, -1000.0], dtype=torch.float64), t, advantage)
    assert torch.isfinite(value).all()
