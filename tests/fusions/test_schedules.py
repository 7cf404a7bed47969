"""Scales over the steps of a run: additive ramps, KDRL, ATOD, the switch."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from agentdistill.learner.progress import LearnerProgress
from agentdistill_fusions.additive import Additive, AdditiveConfig
from agentdistill_fusions.atod import Atod, AtodConfig
from agentdistill_fusions.kdrl import Kdrl, KdrlConfig
from agentdistill_fusions.schedule import Progressing, ramp
from agentdistill_fusions.switch import Switch, SwitchConfig

pytestmark = pytest.mark.oracle


def at(fusion, step: int, total: int = 100) -> tuple[float, float]:
    scales = fusion.scales(LearnerProgress(step, total))
    return scales.kd, scales.rl


def test_constant_unless_told_otherwise():
    fusion = Additive(AdditiveConfig())
    assert {at(fusion, s) for s in range(100)} == {(1.0, 1.0)}
    assert at(Additive(AdditiveConfig(kd=0.0, rl=2.0)), 50) == (0.0, 2.0)


def test_ramps():
    linear = Additive(AdditiveConfig(kd=1.0, kd_end=0.0, rl=0.0, rl_end=2.0, over=40))
    assert [at(linear, s) for s in (0, 10, 20, 40, 99)] == [(1, 0), (0.75, 0.5), (0.5, 1), (0, 2), (0, 2)]
    cosine = Additive(AdditiveConfig(kd=1.0, kd_end=0.0, shape="cosine"))
    assert at(cosine, 0) == (1, 1) and at(cosine, 50)[0] == pytest.approx(0.5) and at(cosine, 100)[0] == 0
    assert at(cosine, 10)[0] == pytest.approx((1 + math.cos(0.1 * math.pi)) / 2)
    assert ramp(3.0, 5.0, 0, 0) == 5.0


def test_impossible_sums_are_rejected():
    for wrong in ({"kd": 0, "rl": 0}, {"over": 10}, {"kd": -1}, {"kd": float("inf")}, {"kd": float("nan")}):
        with pytest.raises(ValidationError):
            AdditiveConfig.model_validate(wrong)


def test_atod_end_points():
    """kappa: 1 -> 0.1, rho: 1 -> 2, over 80 steps: the paper's formulas."""
    fusion = Atod(AtodConfig())
    for step in range(0, 200, 5):
        p = min(step / 80, 1)
        assert at(fusion, step) == pytest.approx((max(0.1, 1 - 0.9 * p), 1 + p))
    assert at(fusion, 0) == (1.0, 1.0) and at(fusion, 80) == pytest.approx((0.1, 2.0)) == at(fusion, 150)


def test_kdrl_falls_to_its_minimum_with_the_last_step():
    fusion = Kdrl(KdrlConfig())
    assert at(fusion, 0) == (0.2, 1.0) and at(fusion, 99) == pytest.approx((0.002, 1.0))
    betas = [at(fusion, s)[0] for s in range(100)]
    assert betas == sorted(betas, reverse=True) and betas[50] == pytest.approx(0.2 - 50 * 0.198 / 99)
    paper = Kdrl(KdrlConfig(beta=0.1, decay=0.01, minimum=0.03))
    assert [at(paper, s)[0] for s in (0, 3, 7, 50)] == pytest.approx([0.1, 0.07, 0.03, 0.03])
    assert at(Kdrl(KdrlConfig(decay=0.0)), 99)[0] == 0.2 and at(fusion, 0, total=1)[0] == 0.2
    with pytest.raises(ValidationError, match="cannot be"):
        KdrlConfig(beta=0.1, minimum=0.2)


def test_switch_by_step():
    fusion = Switch(SwitchConfig(at=3))
    assert [at(fusion, s) for s in range(5)] == [(1, 0)] * 3 + [(0, 1)] * 2
    assert at(Switch(SwitchConfig(at=0)), 0) == (0, 1)
    with pytest.raises(ValidationError, match="never switch"):
        SwitchConfig.model_validate({"at": False})


def curve(step: int) -> float:
    """A disagreement that falls fast and then hardly at all."""
    return 0.2 + math.exp(-step / 8)


def switched_at(config: SwitchConfig, metric, steps: int = 150) -> int | None:
    fusion = Switch(config)
    for step in range(steps):
        if at(fusion, step) == (0, 1):
            return step
        fusion.observe({"kl/abs_token": metric(step)})
    return None


def test_switch_at_the_plateau():
    plateau = SwitchConfig.model_validate({"at": False, "plateau": True})
    found = switched_at(plateau, curve)
    assert found is not None and 40 < found < 100
    late = switched_at(plateau.model_copy(update={"tolerance": 0.001}), curve)
    assert late is not None and late > found
    assert switched_at(plateau, lambda s: math.exp(-s / 8)) is None  # still falling by a constant share
    assert switched_at(plateau, lambda s: 1.0) == 20  # flat from the start: as soon as it may
    assert switched_at(plateau.model_copy(update={"earliest": 0}), lambda s: 1.0) == 11
    assert switched_at(plateau, lambda s: 1.0 + s) == 20  # rising is no falling


def test_whichever_comes_first_and_never_back():
    config = SwitchConfig(at=5, plateau=True)
    assert switched_at(config, curve) == 5
    fusion = Switch(SwitchConfig(at=None, plateau=True, earliest=0, window=2))
    for value in (1.0, 1.0, 1.0, 0.5, 0.1, 0.01):
        fusion.observe({"kl/abs_token": value})
    assert at(fusion, 6) == (0, 1)


def test_what_is_not_measured_is_passed_over():
    fusion = Switch(SwitchConfig(at=None, plateau=True, earliest=0, window=1))
    fusion.observe({})
    fusion.observe({"kl/abs_token": float("nan")})
    assert fusion.progress.history == [] and at(fusion, 2) == (1, 0)


def test_progressing():
    seen = Progressing(window=2, memory=0.0)
    assert seen.improvement is None
    for value in (8.0, 6.0, 4.0, 4.0):
        seen.see(value)
    assert seen.improvement == pytest.approx((6 - 4) / 6) and len(seen.history) == 3
    smooth = Progressing(window=1, memory=0.5)
    for value in (1.0, 0.0):
        smooth.see(value)
    assert smooth.improvement == 0.5
    nothing = Progressing(window=1, memory=0.0)
    for _ in range(3):
        nothing.see(0.0)
    assert nothing.improvement == 0.0
