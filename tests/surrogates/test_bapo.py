"""The search for BAPO's bounds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_rewarded import tokens
from pydantic import ValidationError

from agentdistill_surrogates.bapo import Bapo, BapoConfig, find_bounds, positive_share

pytestmark = pytest.mark.oracle

samples = st.lists(st.tuples(st.floats(0.05, 6.0), st.floats(-5.0, 5.0)), min_size=1, max_size=30)


def arrays(pairs) -> tuple[torch.Tensor, torch.Tensor]:
    values = torch.tensor(pairs, dtype=torch.float64)
    return values[:, 0], values[:, 1]


@settings(deadline=None, max_examples=50)
@given(
    samples, st.floats(0.05, 0.95), st.sampled_from(["high-first", "low-first"]), st.sampled_from(["gradient", "value"])
)
def test_the_search_ends_at_its_target_or_at_its_limits(pairs, target, order, mass):
    config = BapoConfig(target=target, order=order, mass=mass)
    ratio, advantage = arrays(pairs)
    found = find_bounds(ratio, advantage, config)
    assert config.low <= found.low <= config.low_limit and config.high <= found.high <= config.high_limit
    assert found.share == positive_share(ratio, advantage, found.low, found.high, mass)
    assert found.share >= target or (found.low, found.high) == (config.low_limit, config.high_limit)


@settings(deadline=None, max_examples=30)
@given(samples, st.floats(0.05, 0.95))
def test_it_is_the_loop_of_the_algorithm(pairs, target):
    """One step at a time: the upper bound while there is room, then the lower one, until the target is met."""
    config = BapoConfig(target=target)
    ratio, advantage = arrays(pairs)
    low, high = config.low, config.high
    shares = [positive_share(ratio, advantage, low, high)]
    while shares[-1] < target and (low, high) != (config.low_limit, config.high_limit):
        if high < config.high_limit:
            high = min(round(high + config.high_step, 9), config.high_limit)
        else:
            low = min(round(low + config.low_step, 9), config.low_limit)
        shares.append(positive_share(ratio, advantage, low, high))
    found = find_bounds(ratio, advantage, config)
    # A ratio that is a rung itself may fall on either side of it by rounding, so the ends may differ by one step.
    assert abs(found.low - low) <= config.low_step + 1e-6 and abs(found.high - high) <= config.high_step + 1e-6
    assert not bool((advantage > 0).any()) or shares == sorted(shares)


def test_gains_alone_keep_the_initial_bounds_and_losses_alone_reach_the_limits():
    config = BapoConfig()
    ratio = torch.tensor([0.5, 1.0, 4.0])
    found = find_bounds(ratio, torch.tensor([1.0, 2.0, 3.0]), config)
    assert (found.low, found.high, found.share) == (0.6, 1.2, 1.0)
    found = find_bounds(ratio, -torch.ones(3), config)
    assert (found.low, found.high, found.share) == (0.9, 3.0, 0.0)


def test_nothing_at_all_is_no_reason_to_move():
    config = BapoConfig()
    for ratio, advantage in ((torch.ones(0), torch.ones(0)), (torch.ones(4), torch.zeros(4))):
        found = find_bounds(ratio, advantage, config)
        assert (found.low, found.high) == (0.6, 1.2)


def test_worked_search():
    """A gain of ratio 2 is let in by raising the upper bound; then losses of ratio 0.7 are let go."""
    ratio = torch.tensor([2.0, 0.7, 0.7], dtype=torch.float64)
    advantage = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)
    found = find_bounds(ratio, advantage, BapoConfig(target=0.5))
    assert found.high == pytest.approx(2.0) and found.low == 0.6 and found.share == pytest.approx(2.0 / 3.4)
    found = find_bounds(ratio, advantage, BapoConfig(target=0.9))
    assert found.high == 3.0 and found.low == pytest.approx(0.72) and found.share == 1.0
    found = find_bounds(ratio, advantage, BapoConfig(target=0.9, order="low-first"))
    assert found.high == pytest.approx(2.0) and found.low == 0.9


def test_the_value_s_mass_moves_the_wrong_way_with_the_lower_bound():
    """Why ours counts gradients: raising the bound that should silence losses makes their clipped value larger."""
    ratio, advantage = torch.tensor([1.0, 0.5]), torch.tensor([1.0, -1.0])
    by_value = [positive_share(ratio, advantage, low, 1.2, "value") for low in (0.6, 0.9)]
    by_gradient = [positive_share(ratio, advantage, low, 1.2) for low in (0.4, 0.6)]
    assert by_value[1] < by_value[0] and by_gradient[1] > by_gradient[0]


def test_prepare_finds_the_bounds_of_the_batch_and_leaves_the_original_alone():
    t = tokens([[3]], old=[-1.0, -1.0, -1.0])
    advantage = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)
    now = t.old_logprob + torch.tensor([2.0, 0.7, 0.7], dtype=torch.float64).log()
    original = Bapo(BapoConfig(target=0.9))
    prepared = original.prepare(t, advantage, now)
    assert prepared.bounds.high == 3.0 and original.bounds.high == 1.2
    leaf = now.clone().requires_grad_()
    (slope,) = torch.autograd.grad(prepared.values(leaf, t, advantage).sum(), leaf)
    assert slope.tolist() == pytest.approx([-2.0, 0.0, 0.0])
    assert original.prepare(t, advantage).bounds.share == pytest.approx(1 / 3)


def test_bounds_that_would_have_to_fall_are_rejected():
    for wrong in ({"low": 0.95}, {"high": 4.0}, {"target": 1.0}):
        with pytest.raises(ValidationError):
            BapoConfig.model_validate(wrong)
