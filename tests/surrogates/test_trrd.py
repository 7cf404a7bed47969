"""RLAD's ratio: alpha = 1 is PPO bit for bit, and the log-ratio is the blend it says."""

from __future__ import annotations

import pytest
import torch
from made_rewarded import tokens

from agentdistill_surrogates.ppo import Ppo, PpoConfig
from agentdistill_surrogates.trrd import Trrd, TrrdConfig

pytestmark = pytest.mark.oracle


def batch(dtype=torch.float32):
    t = tokens([[300]], seed=4, dtype=dtype)
    generator = torch.Generator().manual_seed(5)
    logprob = t.old_logprob + 0.5 * torch.randn(300, generator=generator).to(dtype)
    return t, logprob.requires_grad_(), torch.randn(300, generator=generator).to(dtype)


def test_alpha_one_is_the_same_advantage_through_ppo_bit_for_bit():
    t, logprob, advantage = batch()
    t.teacher_logprob[:3] = torch.tensor([-torch.inf, -1e30, torch.nan])  # the teacher has no say
    values = [Trrd(TrrdConfig(alpha=1.0)), Ppo(PpoConfig(dual_clip=None))]
    values = [s.values(logprob, t, advantage) for s in values]
    assert torch.equal(*values)
    slopes = [torch.autograd.grad(v.sum(), logprob, retain_graph=True)[0] for v in values]
    assert torch.equal(*slopes)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 0.9])
def test_log_ratio(alpha):
    t, logprob, _ = batch(torch.float64)
    expected = alpha * (logprob - t.old_logprob) + (1 - alpha) * (logprob - t.teacher_logprob)
    torch.testing.assert_close(Trrd(TrrdConfig(alpha=alpha)).ratio(logprob, t).log(), expected)


def test_a_student_far_above_its_teacher_is_clipped_at_the_first_step():
    t = tokens([[2]], old=[-0.1, -2.0], teacher=[-2.0, -0.1])
    leaf = t.old_logprob.clone().requires_grad_()
    advantage = torch.ones(2, dtype=torch.float64)
    (slope,) = torch.autograd.grad(Trrd(TrrdConfig()).values(leaf, t, advantage).sum(), leaf)
    assert slope[0] == 0 and slope[1] < 0
