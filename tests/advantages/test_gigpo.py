"""GiGPO: episodes of a task compared where they met."""

from __future__ import annotations

import numpy as np
import pytest
from made_rewarded import episode, of, rewarded
from pydantic import ValidationError

from agentdistill_advantages.gigpo import GigpoConfig, gigpo
from agentdistill_advantages.grpo import GrpoConfig, grpo

pytestmark = pytest.mark.oracle

STEP = {"episode": 0.0, "std": False}


def crossing():
    """Two episodes of a task meet in the kitchen: one goes on to win, the other does not. A third never gets there."""
    rooms = [["hall", "kitchen", "shelf"], ["hall", "garden", "kitchen"], ["hall", "cellar"]]
    rewards = [[0, 0, 1], [0, 0, 0], [0, 0]]
    return of([episode(r, observations=o) for r, o in zip(rewards, rooms, strict=True)], rewards)


def test_worked_anchors():
    got = gigpo(crossing(), GigpoConfig(gamma=0.5, **STEP))
    # hall: to-go 0.25, 0, 0 (mean 1/12); kitchen: 0.5, 0 (mean 0.25); the rest met nobody
    assert got[0].tolist() == pytest.approx([0.25 - 1 / 12, 0.25, 0.0])
    assert got[1].tolist() == pytest.approx([-1 / 12, 0.0, -0.25])
    assert got[2].tolist() == pytest.approx([-1 / 12, 0.0])


def test_standardised_anchors_of_two_are_plus_and_minus_one_over_root_two():
    got = gigpo(crossing(), GigpoConfig(episode=0.0, epsilon=1e-12))
    assert [float(got[0][1]), float(got[1][2])] == pytest.approx([0.5**0.5, -(0.5**0.5)])


def test_omega_zero_is_grpo_and_the_levels_add_up():
    batch = crossing()
    for a, b in zip(gigpo(batch, GigpoConfig(omega=0.0)), grpo(batch, GrpoConfig()), strict=True):
        np.testing.assert_array_equal(a, b)
    step, whole = gigpo(batch, GigpoConfig(episode=0.0)), grpo(batch, GrpoConfig())
    for a, s, e in zip(gigpo(batch, GigpoConfig(omega=0.3, episode=2.0)), step, whole, strict=True):
        np.testing.assert_allclose(a, 0.3 * s + 2.0 * e, rtol=1e-6)


def test_singleton_anchors_give_exactly_nothing():
    got = gigpo(rewarded([[0, 1], [0, 0, 0]]), GigpoConfig(episode=0.0))  # observations of their own
    assert all((a == 0).all() for a in got)


def test_anchors_where_all_did_equally_well_give_exactly_nothing():
    made = [episode([0, 0.1], observations=["same", f"o{i}"]) for i in range(3)]
    got = gigpo(of(made, [[0, 0.1]] * 3), GigpoConfig(episode=0.0))
    assert all((a == 0).all() for a in got)


def test_tasks_never_meet():
    made = [episode([1], key="a", observations=["o"]), episode([0], key="b", observations=["o"])]
    assert all((a == 0).all() for a in gigpo(of(made, [[1], [0]]), GigpoConfig(episode=0.0)))


def test_an_episode_that_comes_back_meets_itself():
    made = [episode([0, 1], observations=["o", "o"])]
    (got,) = gigpo(of(made, [[0, 1]]), GigpoConfig(gamma=0.5, **STEP))
    assert got.tolist() == pytest.approx([-0.25, 0.25])


def test_replayed_turns_are_no_anchors():
    made = [episode([0, 1], observations=["o", "p"], replayed=1), episode([0, 0], observations=["o", "p"])]
    got = gigpo(of(made, [[0, 1], [0, 0]]), GigpoConfig(gamma=1.0, **STEP))
    assert [a.tolist() for a in got] == [[0.0, 0.5], [0.0, -0.5]]


def test_no_advantage_at_all_is_rejected():
    with pytest.raises(ValidationError, match="no advantage"):
        GigpoConfig(omega=0.0, episode=0.0)
