"""Potential-based shaping: it telescopes, and no comparison of policies changes. Without the last zero one does."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rewards.episodes import episode

from agentdistill.errors import DataError
from agentdistill.records import StopReason
from agentdistill_rewards.progress import ProgressConfig, progress

pytestmark = pytest.mark.oracle


def discounted(rewards, gamma):
    return float(sum(gamma**k * float(r) for k, r in enumerate(rewards)))


@given(
    st.lists(st.integers(-8, 8), min_size=1, max_size=12), st.sampled_from([1.0, 0.5, 0.25]),
    st.sampled_from([StopReason.SUCCESS, StopReason.FAILURE, StopReason.ENV_LIMIT]), st.integers(0, 3),
)  # fmt: skip
def test_the_sum_is_minus_the_first_potential(rewards, gamma, stop, prefix):
    prefix = min(prefix, len(rewards) - 1)
    played = episode([float(r) for r in rewards], stop=stop, prefix=prefix)
    shaped = progress(played, ProgressConfig(scale=0.5, gamma=gamma))
    assert (shaped[:prefix] == 0).all()
    assert discounted(shaped[prefix:], gamma) == pytest.approx(-0.5 * sum(rewards[:prefix]), abs=1e-5)


def test_by_hand():
    played = episode([1.0, 0.0, 2.0, 0.0])
    assert progress(played, ProgressConfig()).tolist() == [1, 0, 2, -3]
    cut = episode([1.0, 0.0, 2.0, 0.0], stop=StopReason.HORIZON)
    assert progress(cut, ProgressConfig()).tolist() == [1, 0, 2, 0]
    assert progress(cut, ProgressConfig(gamma=0.5)).tolist() == [0.5, -0.5, 0.5, -1.5]


def test_an_annotation_as_potential():
    played = episode([0.0] * 3, stop=StopReason.HORIZON, prefix=1)
    for k, step in enumerate(played.steps):
        step.info["annotations"] = {"near": 0.25 * k}
    assert progress(played, ProgressConfig(potential="annotation:near", scale=4.0)).tolist() == [0, 1, 1]
    del played.steps[2].info["annotations"]["near"]
    with pytest.raises(DataError, match=r"no annotation 'near'.*before this one"):
        progress(played, ProgressConfig(potential="annotation:near"))


@pytest.mark.parametrize("potential", ["distance", "annotation:", "annotation", ""])
def test_unknown_potentials(potential):
    with pytest.raises(ValidationError, match="annotation:NAME"):
        ProgressConfig(potential=potential)


def test_nothing_to_shape():
    assert progress(episode([]), ProgressConfig()).tolist() == []
    assert progress(episode([1.0, 1.0], prefix=2), ProgressConfig()).tolist() == [0, 0]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_no_policy_changes_its_rank(seed, gamma):
    """Random decision processes: all plans of up to four actions, plain and shaped returns differ by one constant."""
    rng = random.Random(f"shaping-{seed}")
    states, actions, horizon = 5, 2, 4
    follow = {(s, a): rng.randrange(states) for s in range(states) for a in range(actions)}
    pay = {key: rng.choice([-1.0, 0.0, 0.5, 2.0]) for key in follow}
    over = {s: rng.random() < 0.3 for s in range(1, states)} | {0: False}
    gaps, returns = [], []
    for plan in itertools.product(range(actions), repeat=horizon):
        state, rewards = 0, []
        for action in plan:
            rewards.append(pay[state, action])
            state = follow[state, action]
            if over[state]:
                break
        stop = StopReason.FAILURE if over[state] else StopReason.ENV_LIMIT
        shaped = np.array(rewards) + progress(episode(rewards, stop=stop), ProgressConfig(gamma=gamma, scale=0.7))
        returns.append(discounted(rewards, gamma))
        gaps.append(discounted(shaped, gamma) - returns[-1])
    assert gaps == pytest.approx([0.0] * len(gaps), abs=1e-5)
    assert len(set(returns)) > 1


def test_a_potential_that_stays_at_the_end_would_change_the_optimum():
    """Why the zero: otherwise coming near and losing beats winning at once."""
    wins, loses = episode([1.0], stop=StopReason.SUCCESS), episode([0.0, 0.0], stop=StopReason.FAILURE)
    for played, near in ((wins, [0.0]), (loses, [0.5, 0.9])):
        for step, value in zip(played.steps, near, strict=True):
            step.info["annotations"] = {"near": value}
    config = ProgressConfig(potential="annotation:near", scale=2.0)
    assert 1.0 + progress(wins, config).sum() > progress(loses, config).sum()
    loses.stop = StopReason.HORIZON  # the one end after which the potential stays
    assert 1.0 + progress(wins, config).sum() < progress(loses, config).sum()
