"""TIDE: the hand-over and the credit of turns."""

from __future__ import annotations

import pytest
import torch
from made_rewarded import tokens
from pydantic import ValidationError

from agentdistill.learner.progress import LearnerProgress
from agentdistill_fusions.tide import Tide, TideConfig

pytestmark = pytest.mark.oracle


def scales(fusion) -> tuple[float, float]:
    found = fusion.scales(LearnerProgress(0, 10))
    return found.kd, found.rl


def fed(values, **options) -> Tide:
    fusion = Tide(TideConfig(memory=0.0, **options))
    for value in values:
        fusion.observe({"kl/abs_token": value})
    return fusion


def test_both_ends():
    fusion = Tide(TideConfig())
    assert scales(fusion) == (1.0, 0.1)
    fusion.handed = 1.0
    assert scales(fusion) == pytest.approx((0.1, 1.0))
    fusion.handed = 0.5
    assert scales(fusion) == pytest.approx((0.55, 0.55))


def test_only_a_fall_within_the_band_moves_it():
    assert fed([1.0] * 10).handed == 0.0  # no whole window yet
    assert fed([1.0] * 30).handed == 0.0  # no fall at all
    assert fed([1.0 + 0.01 * i for i in range(30)]).handed == 0.0  # rising
    assert fed([0.9**i for i in range(30)]).handed == 0.0  # falling fast
    slow = [0.999**i for i in range(30)]  # one per cent over ten updates
    assert fed(slow).handed == pytest.approx(20 * 0.02)
    assert fed(slow, rate=0.5).handed == 1.0  # and no further
    assert fed(slow, tolerance=0.005).handed == 0.0


def test_what_is_not_measured_moves_nothing():
    fusion = Tide(TideConfig())
    for metrics in ({}, {"loss": 1.0}, {"kl/abs_token": float("nan")}):
        fusion.observe(metrics)
    assert fusion.handed == 0.0 and fusion.progress.history == []


def turns(advantage, gaps, **options):
    lengths = [[2] * len(a) for a in advantage]
    teacher = [-3.0 - g for episode in gaps for g in episode for _ in range(2)]
    t = tokens(lengths, old=[-3.0] * len(teacher), teacher=teacher, advantage=advantage)
    got = Tide(TideConfig(**options)).weights(t)
    return got["kd"][::2].tolist(), got["rl"][::2].tolist()


def test_worked_episode():
    kd, rl = turns([[0.5, -0.5, 0.0, 0.1]], [[0.0, 1.0, 0.5, -0.25]])
    disagreement = [0.0, 1.0, 0.5, 0.25]
    relative = [1.0, 0.0, 1.0, 0.6]  # the third turn has no group: 1
    assert rl == pytest.approx(disagreement)
    assert kd == pytest.approx([r * d for r, d in zip(relative, disagreement, strict=True)])
    kd, _ = turns([[0.5, -0.5, 0.0, 0.1]], [[0.0, 1.0, 0.5, -0.25]], value="magnitude")
    assert kd == pytest.approx([0.0, 1.0, 0.5, 0.0])


def test_flat_episodes_and_episodes_of_one_turn():
    kd, rl = turns([[0.5, 0.5], [0.0], [0.0, 0.0]], [[1.0, 1.0], [3.0], [0.0, 2.0]])
    assert rl == pytest.approx([1.0, 1.0, 1.0, 0.0, 1.0])
    assert kd == pytest.approx([1.0, 1.0, 1.0, 0.0, 1.0])


def test_episodes_do_not_mix():
    one = turns([[0.5, -0.5]], [[0.1, 0.4]])
    two = turns([[3.0, 9.0], [0.5, -0.5]], [[8.0, 2.0], [0.1, 0.4]])
    assert two[0][2:] == pytest.approx(one[0]) and two[1][2:] == pytest.approx(one[1])


def test_nothing():
    assert Tide(TideConfig()).weights(tokens([], advantage=[])) is None


def test_weights_are_never_negative_and_finite():
    t = tokens([[1, 3, 2]] * 20, advantage=torch.randn(20, 3, generator=torch.Generator().manual_seed(0)).tolist())
    for weights in Tide(TideConfig()).weights(t).values():
        assert torch.isfinite(weights).all() and (weights >= 0).all() and (weights <= 1).all()


def test_impossible_ends_are_rejected():
    with pytest.raises(ValidationError, match="larger"):
        TideConfig(smallest=0.5, largest=0.1)
