"""UOPD: how often the teacher takes over, what the window remembers, who is trained with what."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError
from scored import played, progress, reborn, task

from agentdistill.records import Actor, EpisodePlan, LossRole
from agentdistill.rollout.control import KEEP, Decision, TurnEvidence
from agentdistill_curricula.uopd import Uopd, UopdConfig, decide, rate


def evidence(logprob: float) -> TurnEvidence:
    return TurnEvidence(0, 0, True, "look", 3, -0.1, logprob)


def test_the_rate_falls_linearly_over_half_of_the_run():
    config = UopdConfig()
    assert rate(config, 0, 100) == 0.3
    assert rate(config, 25, 100) == pytest.approx(0.175)
    assert [rate(config, step, 100) for step in (50, 99)] == pytest.approx([0.05, 0.05])
    assert rate(UopdConfig(fade=0.0), 0, 100) == pytest.approx(0.05)


def test_it_takes_over_above_the_threshold_only():
    assert decide(evidence(-2.0), {"threshold": 1.9}) == Decision(guide=1)
    assert decide(evidence(-2.0), {"threshold": 2.0}) == KEEP
    assert decide(evidence(math.nan), {"threshold": -math.inf}) == KEEP
    assert decide(evidence(-50.0), {"threshold": math.inf}) == KEEP


def test_nobody_takes_over_before_enough_is_known():
    curriculum = Uopd(UopdConfig(minimum=8, window=20))
    curriculum.observe_episodes([played(EpisodePlan(), [-1.0] * 7)[0]], None)
    assert curriculum.threshold(progress()) == math.inf
    curriculum.observe_episodes([played(EpisodePlan(), [-1.0])[0]], None)
    assert curriculum.threshold(progress()) == 1.0


@pytest.mark.oracle
def test_the_threshold_is_the_quantile_of_the_last_window():
    rng = np.random.default_rng(0)
    curriculum = Uopd(UopdConfig(minimum=1, window=50))
    seen: list[float] = []
    for step in range(30):
        surprises = rng.gamma(2.0, 1.0, 7)
        seen += surprises.tolist()
        curriculum.observe_episodes([played(EpisodePlan(), [-u for u in surprises])[0]], None)
        ordered = sorted(seen[-50:])
        place = (1 - rate(curriculum.config, step, 100)) * (len(ordered) - 1)
        low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
        naive = low + (high - low) * (place - math.floor(place))
        assert curriculum.threshold(progress(step)) == pytest.approx(naive, abs=1e-6)


def test_the_share_of_turns_taken_over_approaches_the_rate_while_the_student_changes():
    rng = np.random.default_rng(1)
    curriculum = Uopd(UopdConfig(window=1000, minimum=300, first_rate=0.3, last_rate=0.05))
    taken: dict[str, list[float]] = {"early": [], "late": []}
    for step in range(200):
        plan = curriculum.plan(task(), progress(step, 200))
        surprises = rng.gamma(2.0, 1.0 - 0.3 * step / 200, 160)
        share = float(np.mean([decide(evidence(-u), plan.control.numbers).guide for u in surprises]))
        if step < 2:
            assert share == 0.0  # fewer than 300 known
        elif 5 <= step < 25:
            taken["early"].append(share - rate(curriculum.config, step, 200))
        elif step >= 120:
            taken["late"].append(share - rate(curriculum.config, step, 200))
        curriculum.observe_episodes([played(EpisodePlan(), [-u for u in surprises])[0]], None)
    assert abs(np.mean(taken["early"])) < 0.02 and abs(np.mean(taken["late"])) < 0.01


def test_surprises_of_turns_that_were_replaced_count_too():
    trajectory, _ = played(EpisodePlan(), [-1.0, -4.0, math.nan])
    trajectory.steps[1].actor = Actor.TEACHER
    curriculum = Uopd(UopdConfig())
    curriculum.observe_episodes([trajectory], None)
    assert curriculum.surprises == [1.0, 4.0]


def test_a_plan_says_who_takes_over_and_that_scores_are_wanted():
    plan = Uopd(UopdConfig()).plan(task(), progress())
    assert (plan.guide, plan.guide_actor, plan.guide_role) == (0.0, Actor.TEACHER, LossRole.IMITATE)
    assert plan.control.scored and plan.control.numbers == {"threshold": math.inf} and plan.horizon is None
    plan = Uopd(UopdConfig(guide="expert", imitate=False)).plan(task(), progress())
    assert (plan.guide_actor, plan.guide_role) == (Actor.EXPERT, LossRole.NONE)
    assert Uopd(UopdConfig(guide="expert")).needs == {"expert", "scores"}


def test_a_resumed_window_goes_on():
    rng = np.random.default_rng(2)
    curriculum = Uopd(UopdConfig(window=30, minimum=5))
    for _ in range(6):
        curriculum.observe_episodes([played(EpisodePlan(), (-rng.gamma(2.0, 1.0, 9)).tolist())[0]], None)
    other = reborn(curriculum)
    for step in range(5):
        assert other.plan(task(), progress(step)) == curriculum.plan(task(), progress(step))
        more = played(EpisodePlan(), (-rng.gamma(2.0, 1.0, 9)).tolist())[0]
        curriculum.observe_episodes([more], None)
        other.observe_episodes([more], None)


def test_a_minimum_beyond_the_window_is_refused():
    with pytest.raises(ValidationError, match="can never be known"):
        UopdConfig(window=10, minimum=11)
