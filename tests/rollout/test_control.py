"""Decisions on turns that were written and not yet sent: what they see, what becomes of the turn, what is recorded."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
from tiny import tiny_model, tiny_tokenizer
from toy_world import CorridorSource, ScriptedEngine, lost, renderer, requests, right

from agentdistill.errors import PluginError
from agentdistill.learner.batch import assemble
from agentdistill.learner.heads import split_model
from agentdistill.records import (
    Actor,
    EpisodePlan,
    LossRole,
    ScoreRequest,
    Step,
    StopReason,
    TeacherScores,
    TurnControl,
)
from agentdistill.rollout.control import KEEP, Decision, _stale
from agentdistill.rollout.guide import ExpertGuide, ModelGuide
from agentdistill.rollout.play import RolloutSettings, play
from agentdistill.teachers.scoring import score_rows
from agentdistill_contexts.append import AppendConfig, AppendContext
from agentdistill_contexts.window import WindowConfig, WindowContext
from agentdistill_engines.hf import HfConfig, HfEngine

APPEND = AppendContext(AppendConfig())
HERE = __name__
SEEN = []


def keep(evidence, numbers):
    SEEN.append(evidence)
    return KEEP


def odd_turns_to_the_guide(evidence, numbers):
    return Decision(guide=1) if evidence.turn % 2 else KEEP


def hand_over_when_stuck(evidence, numbers):
    return Decision(guide=int(numbers["turns"])) if evidence.stale >= 2 else KEEP


def stop_after(evidence, numbers):
    return Decision(stop=evidence.played >= numbers["turns"] - 1)


def nonsense(evidence, numbers):
    return True


def minus_one(trajectories):
    """A teacher that finds every written token equally likely."""
    answers = []
    for trajectory in trajectories:
        (row,) = trajectory.rows
        logprob = np.where(row.mask, -1.0, np.nan).astype(np.float32)
        answers.append([TeacherScores(logprob, np.isfinite(logprob))])
    return answers


def run(
    decide, *, numbers=None, scored=False, count=5, score=None, student=lost, context=APPEND, plan=None, **settings
):
    control = None if decide is None else TurnControl(f"{HERE}:{decide}", numbers or {}, scored)
    plan = dataclasses.replace(plan or EpisodePlan(), control=control)
    engines = ScriptedEngine(student), ScriptedEngine(right)
    expert = plan.guide_actor is Actor.EXPERT
    guide = ExpertGuide(context, renderer()) if expert else ModelGuide(engines[1])
    SEEN.clear()
    source = CorridorSource()
    played = play(
        [dataclasses.replace(request, plan=plan) for request in requests(count)],
        source=source, engine=engines[0], renderer=renderer(), context=context, guides={plan.guide_actor: guide},
        score=score, settings=RolloutSettings(max_steps=12, want_expert=expert, **settings),
    )  # fmt: skip
    assert all(env.closed for env in source.made)
    return played


def without_notes(trajectory):
    return [
        (s.index, s.response, s.action, s.actor, s.loss_role, s.valid, s.row, s.start, s.end) for s in trajectory.steps
    ]


def test_a_control_that_keeps_everything_changes_nothing():
    plain, kept = run(None), run("keep", scored=True, score=minus_one)
    for a, b in zip(plain, kept, strict=True):
        assert without_notes(a) == without_notes(b) and (a.stop, a.score) == (b.stop, b.score)
        for x, y in zip(a.rows, b.rows, strict=True):
            assert (x.token_ids == y.token_ids).all() and (x.mask == y.mask).all()
            assert np.array_equal(x.old_logprob, y.old_logprob, equal_nan=True)
        assert all(set(s.info["control"]) == {"student_logprob", "teacher_logprob", "tokens"} for s in b.steps)
        assert not any("control" in s.info for s in a.steps)


@pytest.mark.parametrize("actor", [Actor.TEACHER, Actor.EXPERT])
@pytest.mark.parametrize("role", [LossRole.IMITATE, LossRole.NONE])
def test_a_turn_that_is_handed_over_is_the_guides(actor, role):
    played = run("odd_turns_to_the_guide", plan=EpisodePlan(guide_actor=actor, guide_role=role))
    for trajectory in played:
        for step in trajectory.steps:
            helped = step.index % 2 == 1
            assert step.actor is (actor if helped else Actor.STUDENT) and step.valid == helped
            assert step.loss_role is (role if helped else LossRole.DISTILL)
            assert step.response == ("dance" if not helped else step.response)
            assert (step.info["control"].get("guide"), step.info["control"].get("response")) == (
                (1, "dance") if helped else (None, None)
            )
    scores = [[TeacherScores(np.zeros(len(r), np.float32), np.ones(len(r), bool)) for r in t.rows] for t in played]
    batch = assemble(played, scores)
    roles = [
        played[int(i)].steps[int(turn)].actor
        for i, turn in zip(batch.tokens.trajectory, batch.tokens.turn, strict=True)
    ]
    assert set(roles) == {Actor.STUDENT} and bool(len(batch.imitate)) == (role is LossRole.IMITATE)


def test_a_guide_may_be_given_several_turns():
    for trajectory in run("hand_over_when_stuck", numbers={"turns": 3}):
        actors = "".join(step.actor.value[0] for step in trajectory.steps)
        assert actors.startswith("sstttsstttss"[: len(actors)])
        assert [step.info.get("control", {}).get("guide") for step in trajectory.steps[:5]][2:] == [3, None, None][
            : len(actors) - 2
        ]


def test_an_episode_stops_after_the_turn_that_says_so_and_that_turn_is_trained():
    for trajectory in run("stop_after", numbers={"turns": 3}):
        assert len(trajectory.steps) == 3 and trajectory.stop is StopReason.HORIZON
        assert trajectory.steps[-1].loss_role is LossRole.DISTILL and trajectory.steps[-1].info["control"]["stop"]
        assert trajectory.rows[0].mask[trajectory.steps[-1].start : trajectory.steps[-1].end].all()


def test_an_episode_that_is_won_in_its_last_turn_was_not_cut():
    played = run("stop_after", numbers={"turns": 3}, student=right)
    assert played[0].stop is StopReason.SUCCESS and played[0].success  # the corridor of two steps


def test_the_decision_does_not_depend_on_what_else_is_in_flight():
    one, many = (run("hand_over_when_stuck", numbers={"turns": 2}, count=8, concurrency=c) for c in (1, 8))
    assert [without_notes(t) for t in one] == [without_notes(t) for t in many]


def test_a_windowed_context_keeps_no_row_that_nobody_learns_from():
    context = WindowContext(WindowConfig(steps=1, think=False, admissible=False))
    for trajectory in run("odd_turns_to_the_guide", context=context):
        own = [step for step in trajectory.steps if step.actor is Actor.STUDENT]
        assert [step.row for step in own] == list(range(len(trajectory.rows)))


def test_what_a_decision_sees():
    (trajectory,) = run("keep", scored=True, score=minus_one, count=1)
    assert len(SEEN) == len(trajectory.steps) == 12
    for position, (evidence, step) in enumerate(zip(SEEN, trajectory.steps, strict=True)):
        assert (evidence.turn, evidence.played, evidence.action) == (position, position, "dance")
        assert evidence.tokens == step.end - step.start and evidence.student_logprob == -0.5
        assert evidence.teacher_logprob == -1.0 and evidence.past == (-1.0,) * position
        assert evidence.stale == position  # the environment accepts none of them
    run("odd_turns_to_the_guide", count=1, student=right)
    (trajectory,) = run("keep", count=1)
    assert all(math.isnan(evidence.teacher_logprob) for evidence in SEEN)


def test_turns_that_led_nowhere():
    def steps(*turns):
        return [Step(i, seen, action, action, valid=valid) for i, (seen, action, valid) in enumerate(turns)]

    assert _stale([], "start") == 0
    assert _stale(steps(("a", "look", True)), "a") == 0  # once is no repetition
    assert _stale(steps(("a", "look", True), ("a", "look", True)), "a") == 1
    assert _stale(steps(("a", "look", True), ("a", "look", True)), "b") == 0  # something new was seen
    assert _stale(steps(("a", "hum", False), ("a", "hum", False), ("a", "go", True)), "b") == 0
    assert _stale(steps(("a", "go", True), ("b", "hum", False), ("b", "go", True), ("b", "go", True)), "b") == 1
    assert _stale(steps(("a", "go", True), ("b", "hum", False), ("b", "buzz", False)), "b") == 2


def test_the_teacher_is_asked_what_it_is_asked_later():
    """Scores during play, on a turn alone, are those of the finished row (to rounding)."""
    student = HfEngine(HfConfig(), SimpleNamespace(model=tiny_model(seed=1)))
    teacher = split_model(SimpleNamespace(model=tiny_model(seed=2), tokenizer=tiny_tokenizer(), name="teacher"))
    asked = []

    def score(trajectories):
        asked.append(len(trajectories))
        return [score_rows(teacher, trajectory.rows, ScoreRequest()) for trajectory in trajectories]

    control = TurnControl(f"{HERE}:keep", {}, True)
    played = play(
        requests(4, control=control, horizon=3), source=CorridorSource(), engine=student, renderer=renderer(),
        context=APPEND, settings=RolloutSettings(max_new_tokens=6), score=score,
    )  # fmt: skip
    assert asked == [4, 4, 4]  # one batch a turn
    for trajectory in played:
        for row_index, scores in enumerate(score_rows(teacher, trajectory.rows, ScoreRequest())):
            for step in trajectory.steps:
                if step.row == row_index:
                    expected = scores.sampled_logprob[step.start : step.end].mean()
                    assert step.info["control"]["teacher_logprob"] == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize(
    ("decide", "scored", "why"),
    [("keep", True, '"scores" in its `needs`'), ("nonsense", False, "decided True"), ("nothing", False, "cannot be")],
)
def test_a_control_that_cannot_work_is_an_error(decide, scored, why):
    with pytest.raises(PluginError, match=why):
        run(decide, scored=scored)
