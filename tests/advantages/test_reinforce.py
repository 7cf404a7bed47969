"""REINFORCE: returns and rewards-to-go against every baseline."""

from __future__ import annotations

import numpy as np
import pytest
from made_rewarded import episode, firsts, of, rewarded
from pydantic import ValidationError

from agentdistill.records import StopReason
from agentdistill_advantages.reinforce import ReinforceConfig, reinforce
from agentdistill_advantages.rloo import RlooConfig, rloo

pytestmark = pytest.mark.oracle


def run(batch, **options) -> list[list[float]]:
    return [a.tolist() for a in reinforce(batch, ReinforceConfig(**options))]


def test_totals():
    batch = rewarded([[0, 1], [0]], [[3], [1]])
    assert run(batch, baseline="none") == [[1, 1], [0], [3], [1]]
    assert run(batch) == [[-0.25, -0.25], [-1.25], [1.75], [-0.25]]
    assert run(batch, baseline="group") == [[0.5, 0.5], [-0.5], [1], [-1]]


def test_rewards_to_go():
    batch = rewarded([[1, 0, 2]], [[4]])
    assert run(batch, returns="to-go", baseline="none") == [[3, 2, 2], [4]]
    assert run(batch, returns="to-go", gamma=0.5, baseline="none") == [[1.5, 1, 2], [4]]
    assert run(batch, returns="to-go", gamma=0.0, baseline="none") == [[1, 0, 2], [4]]
    assert run(batch, returns="to-go") == [[0.25, -0.75, -0.75], [1.25]]  # the mean is over turns: 11 / 4


def test_the_mean_is_over_trained_turns_only():
    made = [episode([9, 1, 0], replayed=1), episode([0])]
    got = reinforce(of(made, [[9, 1, 0], [0]]), ReinforceConfig(returns="to-go"))
    assert got[0][1:].tolist() == pytest.approx([1 - 1 / 3, -1 / 3]) and got[1].tolist() == pytest.approx([-1 / 3])


def test_whitened():
    batch = rewarded([[1], [2], [3]])
    got = firsts(reinforce(batch, ReinforceConfig(whiten=True)))
    assert got == pytest.approx([-1, 0, 1])
    assert np.std(firsts(reinforce(rewarded([[1], [5], [2]]), ReinforceConfig(whiten=True))), ddof=1) == pytest.approx(
        1
    )


@pytest.mark.parametrize("reward", [0.0, 0.1, 1 / 3])
def test_equal_rewards_and_batches_of_one_are_exactly_nothing(reward):
    for size in (1, 3, 7):
        for options in ({}, {"baseline": "group"}, {"whiten": True}, {"returns": "to-go", "whiten": True}):
            assert run(rewarded([[reward]] * size), **options) == [[0.0]] * size


def test_cut_episodes_are_left_out():
    made = [episode([1]), episode([0]), episode([0], stop=StopReason.HORIZON)]
    assert run(of(made, [[1], [0], [0]])) == [[0.5], [-0.5], [0.0]]
    assert run(of(made, [[1], [0], [0]]), baseline="none") == [[1.0], [0.0], [0.0]]


def test_rloo_beats_it_at_independence():
    """The group's mean contains the episode itself; RLOO's baseline does not: a factor G / (G - 1)."""
    batch = rewarded([[1], [0], [0.5]])
    plain = np.array(firsts(reinforce(batch, ReinforceConfig(baseline="group"))))
    np.testing.assert_allclose(firsts(rloo(batch, RlooConfig())), 1.5 * plain, rtol=1e-6)


def test_a_discount_of_returns_is_rejected():
    with pytest.raises(ValidationError, match="to-go"):
        ReinforceConfig(gamma=0.9)
