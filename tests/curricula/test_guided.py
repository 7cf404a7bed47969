"""Guided-OPD's schedule, its ends, and what it plans when nobody guides."""

from __future__ import annotations

import math

import pytest
from made_episodes import make_task
from pydantic import ValidationError

from agentdistill.records import Actor, EpisodePlan, LossRole
from agentdistill.rollout.guide import guided
from agentdistill.training.curriculum import Progress
from agentdistill_curricula.depth import DepthConfig, FrontToBack
from agentdistill_curricula.guided import Guided, GuidedConfig, share

TASK = make_task()


def progress(step: int, total: int = 250) -> Progress:
    return Progress(step, total, 30, lambda task: None)


def test_the_papers_schedule_begins_at_one_and_has_faded_after_eight_tenths():
    config = GuidedConfig()
    assert share(config, 0, 250) == 1.0
    assert share(config, 100, 250) == pytest.approx(0.5)
    assert share(config, 200, 250) == pytest.approx(0.0, abs=1e-15)
    assert share(config, 249, 250) == pytest.approx(0.0, abs=1e-15)
    assert share(config, 50, 250) == pytest.approx(1 - (1 - math.cos(math.pi * 0.25)) / 2)


def test_no_fade_is_the_last_share_from_the_start():
    config = GuidedConfig(fade=0.0, last_share=0.4)
    assert [share(config, step, 100) for step in (0, 50, 99)] == [0.4] * 3


def test_a_plan_says_who_plays_and_what_its_turns_may_be_trained_with():
    plan = Guided(GuidedConfig()).plan(TASK, progress(0))
    assert (plan.guide, plan.guide_actor, plan.guide_role, plan.horizon) == (1.0, Actor.TEACHER, LossRole.IMITATE, None)
    plan = Guided(GuidedConfig(guide="expert", imitate=False, first_share=0.5)).plan(TASK, progress(0))
    assert (plan.guide, plan.guide_actor, plan.guide_role) == (0.5, Actor.EXPERT, LossRole.NONE)


@pytest.mark.parametrize(("guide", "needs"), [("teacher", {"teacher"}), ("expert", {"expert"})])
def test_it_asks_for_its_guide(guide, needs):
    assert Guided(GuidedConfig(guide=guide)).needs == needs
    assert Guided(GuidedConfig(guide=guide, first_share=0, last_share=0)).needs == set()


def test_with_a_window_and_nobody_guiding_it_is_front_to_back():
    guided_off = Guided(GuidedConfig(start=2, every=3, maximum=9, first_share=0, last_share=0))
    plain = FrontToBack(DepthConfig(start=2, every=3, maximum=9))
    for step in range(40):
        ours, theirs = guided_off.plan(TASK, progress(step)), plain.plan(TASK, progress(step))
        assert (ours.horizon, ours.guide) == (theirs.horizon, 0.0)


def test_without_a_window_and_nobody_guiding_it_is_an_ordinary_episode():
    plan = Guided(GuidedConfig(first_share=0, last_share=0)).plan(TASK, progress(7))
    assert (plan.horizon, plan.prefix, plan.guide) == (None, EpisodePlan().prefix, 0.0)


def test_a_maximum_below_the_start_is_refused():
    with pytest.raises(ValidationError, match="maximum = 3 is below start = 5"):
        GuidedConfig(start=5, maximum=3)


def test_turns_are_drawn_at_the_share_and_independently():
    draws = [[guided(seed, turn, 0.3) for turn in range(10)] for seed in range(2000)]
    rate = sum(map(sum, draws)) / 20_000
    assert abs(rate - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 20_000)
    both = sum(row[3] and row[4] for row in draws) / 2000
    assert abs(both - 0.09) < 4 * math.sqrt(0.09 * 0.91 / 2000)
    assert all(guided(seed, 0, 1.0) and not guided(seed, 0, 0.0) for seed in range(50))
