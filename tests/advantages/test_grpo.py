"""GRPO and RLOO: worked groups, invariances, and groups that say nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_rewarded import episode, firsts, of, rewarded

from agentdistill.plugins import PluginRegistry
from agentdistill.records import StopReason
from agentdistill.training.rewarded import advantage_metrics
from agentdistill_advantages.grpo import GrpoConfig, grpo
from agentdistill_advantages.rloo import RlooConfig, rloo

pytestmark = pytest.mark.oracle

NAMES = ["grpo", "gigpo", "rloo", "brpo", "reinforce", "adaptthink"]
values = st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=8)


def test_worked_group():
    batch = rewarded([[0, 0, 1], [0], [0, 0], [1]])
    got = grpo(batch, GrpoConfig(epsilon=1e-12))
    expected = 0.5 / np.sqrt(1 / 3)  # the sample standard deviation of 1, 0, 0, 1
    assert [a.tolist() for a in got] == [
        pytest.approx([expected] * 3),
        pytest.approx([-expected]),
        pytest.approx([-expected] * 2),
        pytest.approx([expected]),
    ]
    assert all(a.dtype == np.float32 for a in got)
    assert firsts(grpo(batch, GrpoConfig(std=False))) == pytest.approx([0.5, -0.5, -0.5, 0.5])
    assert firsts(rloo(batch, RlooConfig())) == pytest.approx([2 / 3, -2 / 3, -2 / 3, 2 / 3])


@settings(deadline=None, max_examples=50)
@given(values, st.floats(0.5, 20), st.floats(-5, 5))
def test_shift_and_scale_do_not_matter_with_std(returns, scale, shift):
    returns = [round(r, 2) for r in returns]
    plain = firsts(grpo(rewarded([[r] for r in returns]), GrpoConfig(epsilon=1e-12)))
    moved = firsts(grpo(rewarded([[scale * r + shift] for r in returns]), GrpoConfig(epsilon=1e-12)))
    assert moved == pytest.approx(plain, abs=1e-3)
    assert sum(plain) == pytest.approx(0, abs=1e-4)


@settings(deadline=None, max_examples=50)
@given(values)
def test_rloo_is_the_mean_of_the_others(returns):
    got = firsts(rloo(rewarded([[r] for r in returns]), RlooConfig()))
    total = np.array(returns, dtype=np.float64)
    others = [np.delete(total, i).mean() if len(total) > 1 else total[i] for i in range(len(total))]
    assert got == pytest.approx((total - others).tolist(), abs=1e-4)


@pytest.mark.parametrize("reward", [0.0, 1.0, 0.1, -0.3, 1 / 3])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_equal_returns_are_exactly_nothing_and_are_flagged(reward, size):
    batch = rewarded([[reward]] * size, [[0.0], [1.0]])
    for config in (GrpoConfig(), GrpoConfig(std=False)):
        assert firsts(grpo(batch, config))[:size] == [0.0] * size
    assert firsts(rloo(batch, RlooConfig()))[:size] == [0.0] * size
    assert advantage_metrics(batch, grpo(batch, GrpoConfig()))["advantage/flat_groups"] == 0.5


def test_groups_do_not_mix():
    both = rewarded([[1], [0]], [[10], [0], [0]])
    apart = [rewarded([[1], [0]]), rewarded([[10], [0], [0]])]
    for method, config in ((grpo, GrpoConfig()), (rloo, RlooConfig())):
        assert firsts(method(both, config)) == [a for b in apart for a in firsts(method(b, config))]


def test_episodes_that_the_curriculum_cut_are_unknown_not_lost():
    made = [episode([1]), episode([0]), episode([0], stop=StopReason.HORIZON)]
    batch = of(made, [[1], [0], [0]])
    assert firsts(grpo(batch, GrpoConfig(std=False))) == [0.5, -0.5, 0.0]
    assert firsts(grpo(batch, GrpoConfig(std=False, count_cut=True))) == pytest.approx([2 / 3, -1 / 3, -1 / 3])
    cut = of(made[2:], [[0]])
    assert [a.tolist() for a in grpo(cut, GrpoConfig())] == [[0.0]]


@pytest.mark.parametrize("name", NAMES)
def test_every_advantage_survives_groups_of_one_single_turns_and_nothing(name):
    method = PluginRegistry.load().function("advantage", {"type": name})
    for batch in (rewarded([[1.0]]), rewarded([[0.0]], [[1.0]]), rewarded([[0.5]] * 3), rewarded(), rewarded([[]])):
        got = method(batch)
        assert [a.shape for a in got] == [(len(t.steps),) for t in batch.trajectories]
        assert all(a.dtype == np.float32 and np.isfinite(a).all() for a in got)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_episodes_does_not_matter(name):
    method = PluginRegistry.load().function("advantage", {"type": name})
    rewards = [[0, 1], [0, 0, 0], [1], [0, 1], [0, 0], [0.5, 0]]
    made = [episode(r, key=f"task {i % 2}", responses=[f"<think>{i}</think>"] * len(r)) for i, r in enumerate(rewards)]
    order = [3, 0, 5, 1, 4, 2]
    plain, shuffled = method(of(made, rewards)), method(of([made[i] for i in order], [rewards[i] for i in order]))
    for place, i in enumerate(order):
        np.testing.assert_allclose(shuffled[place], plain[i], rtol=1e-6, atol=1e-7)
