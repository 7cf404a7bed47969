"""Rescue: when help comes, how long it stays, and that nothing of it is trained."""

from __future__ import annotations

import dataclasses

import pytest
from rollout.toy_world import CorridorSource, ScriptedEngine, lost, renderer, requests, right
from scored import progress, reborn, task

from agentdistill.records import Actor, LossRole
from agentdistill.rollout.control import KEEP, Decision, TurnEvidence
from agentdistill.rollout.guide import ModelGuide
from agentdistill.rollout.play import RolloutSettings, play
from agentdistill_contexts.append import AppendConfig, AppendContext
from agentdistill_curricula.rescue import Rescue, RescueConfig, decide


def run(student, config=None, count=4):
    plan = Rescue(config or RescueConfig()).plan(task(), progress())
    return play(
        [dataclasses.replace(request, plan=plan) for request in requests(count)], source=CorridorSource(),
        engine=ScriptedEngine(student), renderer=renderer(), context=AppendContext(AppendConfig()),
        settings=RolloutSettings(max_steps=14), guides={Actor.TEACHER: ModelGuide(ScriptedEngine(right))},
    )  # fmt: skip


def test_help_comes_after_enough_turns_that_led_nowhere():
    numbers = {"patience": 3.0, "turns": 4.0}
    assert decide(TurnEvidence(5, 5, True, "a", 1, -0.1, stale=2), numbers) == KEEP
    assert decide(TurnEvidence(5, 5, True, "a", 1, -0.1, stale=3), numbers) == Decision(guide=4)


@pytest.mark.parametrize(("patience", "turns"), [(3, 4), (2, 1), (1, 2)])
def test_a_stuck_student_is_helped_as_long_as_asked(patience, turns):
    for trajectory in run(lost, RescueConfig(patience=patience, turns=turns)):
        actors = "".join(step.actor.value[0] for step in trajectory.steps)
        expected = ("s" * patience + "t" * turns) * 14
        assert actors == expected[: len(actors)]
        helped = [step for step in trajectory.steps if step.actor is Actor.TEACHER]
        assert all(step.loss_role is LossRole.NONE and step.row == -1 and step.valid for step in helped)


def test_a_student_that_moves_is_left_alone():
    for trajectory in run(right):
        assert trajectory.success and {step.actor for step in trajectory.steps} == {Actor.STUDENT}


def test_the_help_may_be_imitated():
    plan = Rescue(RescueConfig(imitate=True, guide="expert")).plan(task(), progress())
    assert (plan.guide_role, plan.guide_actor) == (LossRole.IMITATE, Actor.EXPERT)
    assert reborn(Rescue(RescueConfig(guide="expert"))).needs == {"expert"}
