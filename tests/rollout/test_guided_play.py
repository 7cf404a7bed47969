"""Turns played by a guide: who is asked, what is recorded, what may be trained."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from toy_world import CorridorSource, ScriptedEngine, renderer, requests

from agentdistill.records import Actor, LossRole, trainable_tokens
from agentdistill.rollout.guide import ExpertGuide, ModelGuide, guided
from agentdistill.rollout.play import RolloutSettings, play
from agentdistill_contexts.append import AppendConfig, AppendContext
from agentdistill_contexts.window import WindowConfig, WindowContext

APPEND = AppendContext(AppendConfig())


def lost(session: str, turn: int, prompt: str) -> str:
    return "dance"


def right(session: str, turn: int, prompt: str) -> str:
    length = int(prompt.split("A corridor of ")[1].split()[0]) if "A corridor of " in prompt else 99
    place = int(prompt.rsplit("You are at ", 1)[1].split(".")[0]) if "You are at " in prompt else 0
    return "open" if place == length else "ahead"


def run(share, role=LossRole.NONE, actor=Actor.TEACHER, context=APPEND, count=6, **settings):
    batch = [
        dataclasses.replace(
            request, plan=dataclasses.replace(request.plan, guide=share, guide_actor=actor, guide_role=role)
        )
        for request in requests(count)
    ]
    student, teacher = ScriptedEngine(lost), ScriptedEngine(right)
    guides = {Actor.TEACHER: ModelGuide(teacher), Actor.EXPERT: ExpertGuide(context, renderer())}
    played = play(
        batch, source=CorridorSource(), engine=student, renderer=renderer(), context=context,
        settings=RolloutSettings(max_steps=20, want_expert=actor is Actor.EXPERT, **settings), guides=guides,
    )  # fmt: skip
    assert set(student.released) == set(teacher.released) == {f"episode-{i}" for i in range(count)}
    return played


@pytest.mark.parametrize("actor", [Actor.TEACHER, Actor.EXPERT])
def test_a_guide_that_plays_every_turn_wins_and_leaves_nothing_to_distil(actor):
    for trajectory in run(1.0, actor=actor):
        assert trajectory.success and {step.actor for step in trajectory.steps} == {actor}
        assert trajectory.meta["no_student_steps"] and trajectory.meta["student_steps"] == 0
        assert trajectory.rows == [] and trainable_tokens([trajectory]) == 0


@pytest.mark.parametrize("role", [LossRole.NONE, LossRole.IMITATE])
def test_each_turn_is_recorded_as_the_one_who_played_it(role):
    for trajectory in run(0.5, role):
        (row,) = trajectory.rows
        for step in trajectory.steps:
            helped = guided(trajectory.seed, step.index, 0.5)
            assert step.actor is (Actor.TEACHER if helped else Actor.STUDENT)
            assert step.response == ("dance" if not helped else step.response) and step.valid == helped
            assert step.loss_role is (role if helped else LossRole.DISTILL)
            if step.row < 0:
                assert helped and role is LossRole.NONE
                continue
            assert renderer().decode(row.token_ids[step.start : step.end]) == step.response
            assert (row.mask[step.start : step.end] == (not helped)).all()
            assert (row.step_of_token[step.start : step.end] == step.index).all()
        assert not np.isin(row.step_of_token, [s.index for s in trajectory.steps if s.row < 0]).any()
        # Everything that was said is in the conversation, whoever said it.
        assert all(step.response in renderer().decode(row.token_ids) for step in trajectory.steps)


def test_what_an_episode_plays_does_not_depend_on_what_else_is_in_flight():
    one, many = run(0.5, concurrency=1), run(0.5, concurrency=6)
    for a, b in zip(one, many, strict=True):
        assert [(s.actor, s.response) for s in a.steps] == [(s.actor, s.response) for s in b.steps]
        assert (a.rows[0].token_ids == b.rows[0].token_ids).all()


def test_a_windowed_context_keeps_no_row_that_nobody_learns_from():
    for trajectory in run(0.5, context=WindowContext(WindowConfig(steps=1, think=False, admissible=False))):
        own = [step for step in trajectory.steps if step.actor is Actor.STUDENT]
        assert [step.row for step in own] == list(range(len(trajectory.rows)))


def test_guided_turns_count_towards_the_horizon():
    batch = [dataclasses.replace(r, plan=dataclasses.replace(r.plan, guide=0.5, horizon=2)) for r in requests(6)]
    played = play(
        batch, source=CorridorSource(), engine=ScriptedEngine(lost), renderer=renderer(), context=APPEND,
        settings=RolloutSettings(), guides={Actor.TEACHER: ModelGuide(ScriptedEngine(right))},
    )  # fmt: skip
    assert {len(t.steps) for t in played} == {2}
