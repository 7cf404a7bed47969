"""Soft-log, the discounted future, and extrapolation past the teacher."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_losses import expectation, logits
from made_rewarded import tokens

from agentdistill.plugins import PluginRegistry
from agentdistill_losses.opd import reverse_kl_advantage
from agentdistill_losses.pg_exopd import ExOpdConfig, ExOpdLoss
from agentdistill_losses.pg_future import FutureKlConfig, FutureKlLoss, discounted_to_come
from agentdistill_losses.pg_softlog import SoftLogConfig, SoftLogLoss

pytestmark = pytest.mark.oracle

NAMES = ["f-pg", "soft-log", "future-kl", "exopd", "uni-opd"]
TURNS = [[3, 1, 5], [2], [1, 1, 1, 4]]


def gap(t) -> torch.Tensor:
    return t.teacher_logprob - t.old_logprob


def test_soft_log():
    t = tokens([[5]], old=[-5.0] * 5, teacher=[-25.0, -6.0, -5.0, -4.999, 0.0])
    got = SoftLogLoss(SoftLogConfig()).advantage(t).tolist()
    assert got == pytest.approx([-math.log(21), -math.log(2), 0.0, math.log(1.001), math.log(6)])
    assert SoftLogLoss(SoftLogConfig(log_ratio_clip=2.0)).advantage(t)[0] == pytest.approx(-math.log(3))
    wide = SoftLogLoss(SoftLogConfig(scale=1e9)).advantage(t)
    torch.testing.assert_close(wide, gap(t), rtol=1e-6, atol=1e-6)  # slope 1 at 0


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-19, 0), min_size=2, max_size=6))
def test_soft_log_keeps_order_and_sign(teacher):
    t = tokens([[len(teacher)]], old=[-5.0] * len(teacher), teacher=teacher)
    got, plain = SoftLogLoss(SoftLogConfig()).advantage(t), gap(t)
    assert torch.equal(got.sign(), plain.sign())
    order = plain.argsort()
    assert (got[order].diff() >= 0).all() and (got.abs() <= plain.abs() + 1e-12).all()


def loop(values, segment, gamma) -> list[float]:
    result = [0.0] * len(values)
    for t in range(len(values) - 1, -1, -1):
        follows = t + 1 < len(values) and segment[t + 1] == segment[t]
        result[t] = values[t] + (gamma * result[t + 1] if follows else 0.0)
    return result


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(1, 9), min_size=0, max_size=8),
    st.sampled_from([0.0, 0.3, 0.9, 0.999, 1.0]),
    st.integers(0, 99),
)
def test_doubling_is_the_loop(lengths, gamma, seed):
    segment = torch.tensor([i for i, n in enumerate(lengths) for _ in range(n)], dtype=torch.int64)
    values = torch.randn(len(segment), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    got = discounted_to_come(values, segment, gamma)
    assert got.tolist() == pytest.approx(loop(values.tolist(), segment.tolist(), gamma), abs=1e-10)


@pytest.mark.parametrize("until", ["turn", "episode"])
@pytest.mark.parametrize("normalised", [False, True])
def test_no_future_is_the_token_s_own_bit_for_bit(until, normalised):
    t = tokens(TURNS, dtype=torch.float32)
    config = FutureKlConfig(gamma=0.0, until=until, normalised=normalised)
    assert torch.equal(FutureKlLoss(config).advantage(t), reverse_kl_advantage(t))


def test_the_whole_future_is_the_sum_to_come():
    t = tokens(TURNS)
    got = FutureKlLoss(FutureKlConfig(gamma=1.0, until="episode")).advantage(t)
    for i in range(3):
        own = t.trajectory == i
        # The first token of an episode answers for the sequence's whole log-ratio.
        assert float(got[own][0]) == pytest.approx(float(gap(t)[own].sum()))
        assert float(got[own][-1]) == pytest.approx(float(gap(t)[own][-1]))
    turn = FutureKlLoss(FutureKlConfig(gamma=1.0)).advantage(t)
    own = (t.trajectory == 0) & (t.turn == 0)
    assert float(turn[own][0]) == pytest.approx(float(gap(t)[own].sum()))


def test_turns_and_episodes_do_not_mix():
    t = tokens(TURNS)
    alone = tokens([[5]], old=t.old_logprob[4:9], teacher=t.teacher_logprob[4:9])
    config = FutureKlConfig(gamma=0.7)
    torch.testing.assert_close(FutureKlLoss(config).advantage(t)[4:9], FutureKlLoss(config).advantage(alone))


def test_the_normalised_form_of_a_constant_is_the_constant():
    t = tokens(TURNS, old=[-2.0] * 18, teacher=[-1.5] * 18)
    got = FutureKlLoss(FutureKlConfig(gamma=0.8, until="episode", normalised=True)).advantage(t)
    torch.testing.assert_close(got, torch.full_like(got, 0.5))


def test_long_episodes_take_few_steps():
    t = tokens([[3000]], old=[-1.0] * 3000, teacher=[-0.5] * 3000)
    got = FutureKlLoss(FutureKlConfig(gamma=1.0, advantage_clip=1e9)).advantage(t)
    assert float(got[0]) == pytest.approx(1500.0) and float(got[-1]) == 0.5


def with_reference(t, reference):
    return type(t)(**{**{f: getattr(t, f) for f in t.__slots__}, "reference_logprob": reference})


def test_extrapolation():
    t = tokens(TURNS, dtype=torch.float32)
    reference = t.old_logprob - 0.3
    t = with_reference(t, reference)
    assert torch.equal(ExOpdLoss(ExOpdConfig(extrapolation=1.0)).advantage(t), reverse_kl_advantage(t))
    none = ExOpdLoss(ExOpdConfig(extrapolation=0.0)).advantage(t)
    torch.testing.assert_close(none, reference - t.old_logprob)
    by_formula = 1.25 * (t.teacher_logprob - reference) - (t.old_logprob - reference)
    torch.testing.assert_close(ExOpdLoss(ExOpdConfig()).advantage(t), by_formula)
    assert ExOpdLoss.needs == {"reference"}


@pytest.mark.parametrize("strength", [0.5, 1.0, 1.25, 3.0])
def test_extrapolation_rests_at_its_optimum(strength):
    """pi = pi_ref (pi_T / pi_ref)^lambda, normalised: the expected gradient is zero there, and only there."""
    teacher, reference = logits(1)
    best = reference.log_softmax(-1) * (1 - strength) + teacher.log_softmax(-1) * strength
    objective = ExOpdLoss(ExOpdConfig(extrapolation=strength, advantage_clip=1e9)).objective
    _, grad = expectation(objective, best, teacher, reference_logprob=reference.log_softmax(-1))
    torch.testing.assert_close(grad, torch.zeros_like(grad), rtol=0, atol=1e-10)
    _, grad = expectation(objective, best + logits(2)[0], teacher, reference_logprob=reference.log_softmax(-1))
    assert float(grad.abs().max()) > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_registered_and_quiet_when_there_is_nothing(name):
    loss = PluginRegistry.load().build("loss", {"type": name})
    assert loss.request.sampled
    assert len(loss.objective.clipped_advantage(tokens([]))) == 0
    t = tokens(TURNS)
    same = with_reference(tokens(TURNS, old=t.old_logprob, teacher=t.old_logprob), t.old_logprob)
    assert (loss.objective.clipped_advantage(same) == 0).all()
