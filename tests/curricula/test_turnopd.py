"""TurnOPD's depth: the formula, probes only, nothing that was cut, no ratchet."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError
from scored import OWN, played, progress, reborn, task

from agentdistill.records import EpisodePlan, StopReason
from agentdistill_curricula.turnopd import TurnOpd, TurnOpdConfig, effective_turn, rounded

PROBE = EpisodePlan(note={"depth": 30.0, "probe": 1.0})


def feed(curriculum, *episodes):
    curriculum.observe_episodes([t for t, _ in episodes], [s for _, s in episodes])


def probe(kls, **options):
    return played(options.pop("plan", PROBE), [OWN - kl for kl in kls], **options)


@pytest.mark.oracle
def test_the_centre_of_the_divergence():
    assert effective_turn([0.0, 0.0, 3.0], [4, 4, 4]) == 2
    assert effective_turn([1.0, 1.0, 1.0], [5, 5, 5]) == 1
    assert effective_turn([1.0, -2.0, 1.0], [6, 6, 3]) == 1  # masses 1, 0, 1/2: 2/3, rounded
    assert effective_turn([-1.0, 0.0], [2, 2]) is None
    rng = np.random.default_rng(0)
    for _ in range(50):
        kl, alive = rng.normal(0.3, 1.0, 9), np.sort(rng.integers(1, 20, 9))[::-1]
        mass = np.maximum(kl, 0) * alive / alive[0]
        expected = math.floor((np.arange(9) * mass / mass.sum()).sum() + 0.5)
        assert effective_turn(kl.tolist(), alive.tolist()) == expected
    assert [rounded(x) for x in (0.49, 0.5, 1.5, 2.5)] == [0, 1, 2, 3]


def test_measured_over_the_tokens_of_all_probes_that_are_alive():
    curriculum = TurnOpd(TurnOpdConfig())
    feed(curriculum, probe([0.0, 1.0, 1.0], tokens=4), probe([0.0, 4.0], tokens=1))
    # K = 0, (4 x 1 + 1 x 4) / 5, 1; alive 2, 2, 1: masses 0, 1.6, 0.5
    assert curriculum.mean == rounded((1.6 + 2 * 0.5) / 2.1) == 1


def test_the_schedule_of_probes_and_the_depth_between_them():
    curriculum = TurnOpd(TurnOpdConfig(warmup=3, every=8))
    feed(curriculum, probe([0.0] * 6 + [2.0]))
    plans = [curriculum.plan(task(), progress(step)) for step in range(20)]
    assert [step for step, plan in enumerate(plans) if plan.note["probe"]] == [0, 1, 2, 8, 16]
    assert all((plan.horizon is None) == bool(plan.note["probe"]) for plan in plans)
    assert {plan.horizon for plan in plans} == {None, 7}  # turn 6 is the seventh


def test_before_anything_is_measured_episodes_are_whole():
    plan = TurnOpd(TurnOpdConfig(warmup=1)).plan(task(), progress(1))
    assert plan.horizon is None and not plan.note["probe"]


def test_success_is_covered_once_enough_probes_succeed():
    curriculum = TurnOpd(TurnOpdConfig(successes=4, rate=1.0))
    won = [probe([1.0] * length, success=True) for length in (3, 5, 9)]
    feed(curriculum, *won, probe([1.0] * 2))
    assert curriculum.covered is None and curriculum.mean < 4
    feed(curriculum, probe([1.0] * 12, success=True))
    assert curriculum.covered == 11 and curriculum.depths == []  # 0.8 quantile of 2, 4, 8, 11
    assert curriculum.mean == 11 and curriculum.plan(task(), progress(5)).horizon == 12
    feed(curriculum, probe([3.0, 0.0]))  # no new successes: what was covered stays covered
    assert curriculum.mean == 11


def test_the_mean_moves_by_its_rate():
    curriculum = TurnOpd(TurnOpdConfig(rate=0.3))
    feed(curriculum, probe([0.0] * 10 + [1.0]))
    assert curriculum.mean == 10.0
    feed(curriculum, probe([1.0, 0.0]))
    assert curriculum.mean == pytest.approx(7.0)
    assert curriculum.plan(task(), progress(5)).horizon == 8


def test_the_depth_stays_within_its_bounds():
    shallow, deep = TurnOpd(TurnOpdConfig(minimum=4)), TurnOpd(TurnOpdConfig(maximum=6))
    feed(shallow, probe([1.0]))
    feed(deep, probe([0.0] * 20 + [1.0]))
    assert shallow.plan(task(), progress(5)).horizon == 4 and deep.plan(task(), progress(5)).horizon == 6
    assert deep.plan(task(), progress(5, limit=3)).horizon is None
    with pytest.raises(ValidationError, match="maximum = 1 is below minimum = 2"):
        TurnOpdConfig(maximum=1)


@pytest.mark.parametrize(
    "censored",
    [
        {"plan": EpisodePlan(horizon=2, note={"depth": 2.0, "probe": 0.0}), "stop": StopReason.HORIZON},
        {"plan": EpisodePlan(note={"depth": 2.0, "probe": 0.0})},  # whole, but no probe
        {"plan": PROBE, "stop": StopReason.HORIZON},  # somebody else cut it
        {"plan": PROBE, "stop": StopReason.ABORTED},
        {"plan": PROBE, "stop": StopReason.CONTEXT_LIMIT},  # it would have gone on
    ],
)
def test_episodes_that_are_no_whole_probes_are_never_used(censored):
    curriculum = TurnOpd(TurnOpdConfig())
    feed(curriculum, probe([0.0] * 8 + [1.0]))
    before = curriculum.state_dict()
    feed(curriculum, *[probe([5.0, 0.0], **censored) for _ in range(20)])
    assert curriculum.state_dict() == before
    mixed, clean = TurnOpd(TurnOpdConfig()), TurnOpd(TurnOpdConfig())
    feed(mixed, probe([0.0, 1.0, 1.0]), probe([9.0, 0.0], **censored))
    feed(clean, probe([0.0, 1.0, 1.0]))
    assert mixed.state_dict() == clean.state_dict()


def test_depth_does_not_ratchet_down():
    """Episodes cut at the depth, fed back step after step, would shrink a mean that counted them."""
    curriculum = TurnOpd(TurnOpdConfig(successes=4))
    rng = np.random.default_rng(3)
    depths = []
    for step in range(60):
        plan = curriculum.plan(task(), progress(step))
        batch = []
        for _ in range(8):
            length = int(rng.integers(6, 18))
            kls = rng.gamma(1.0, 0.5, length)
            if plan.horizon is not None and plan.horizon < length:
                batch.append(probe(kls[: plan.horizon], plan=plan, stop=StopReason.HORIZON))
            else:
                batch.append(probe(kls, plan=plan, success=bool(rng.random() < 0.5)))
        feed(curriculum, *batch)
        depths.append(plan.horizon or 30)
    cut = [depth for step, depth in enumerate(depths) if step > 20 and depth < 30]
    assert min(cut) >= 13 and max(cut) - min(cut) <= 4  # successes of 6 to 17 turns, four fifths of them covered


def test_a_teacher_equal_to_the_student_says_nothing_about_depth():
    curriculum = TurnOpd(TurnOpdConfig())
    feed(curriculum, probe([0.0] * 5), probe([math.nan] * 3))
    assert curriculum.mean is None
    curriculum.observe_episodes([probe([1.0])[0]], None)
    assert curriculum.mean is None


def test_a_resumed_controller_goes_on():
    curriculum = TurnOpd(TurnOpdConfig(successes=3))
    feed(curriculum, probe([1.0] * 4, success=True), probe([0.3, 2.0]))
    other = reborn(curriculum)
    for _ in range(4):
        for each in (curriculum, other):
            feed(each, probe([0.5] * 7, success=True), probe([0.1] * 9))
        assert other.state_dict() == curriculum.state_dict()
        assert other.plan(task(), progress(5)) == curriculum.plan(task(), progress(5))
