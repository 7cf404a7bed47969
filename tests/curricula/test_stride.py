"""STRIDE: where it stops, what it keeps, and that an episode goes on from there in the very same state."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rollout.toy_world import CorridorSource, ScriptedEngine, renderer, requests
from scored import played, progress, reborn, task

from agentdistill.records import Actor, EpisodePlan, LossRole, StopReason, TeacherScores
from agentdistill.rollout.control import KEEP, Decision, TurnEvidence
from agentdistill.rollout.play import RolloutSettings, play
from agentdistill_contexts.append import AppendConfig, AppendContext
from agentdistill_curricula.stride import Stride, StrideConfig, decide, good_turns

CONTEXT = AppendContext(AppendConfig())
LOGPROBS = st.lists(st.floats(-2, -0.01), min_size=1, max_size=12)


def stop_index(logprobs, bound):
    past: tuple[float, ...] = ()
    for index, value in enumerate(logprobs):
        decision = decide(TurnEvidence(index, index, True, "a", 1, -0.1, value, past), {"bound": bound})
        if decision.stop:
            return index
        past = (*past, value)
    return None


@pytest.mark.oracle
@given(LOGPROBS, st.sampled_from([-0.5, -1.0, -2.0]))
def test_it_stops_at_the_first_turn_whose_sum_is_below_the_bound(logprobs, bound):
    naive = next((k for k in range(len(logprobs)) if math.fsum(logprobs[: k + 1]) < bound), None)
    assert stop_index(logprobs, bound) == naive


def test_a_turn_without_an_opinion_adds_nothing():
    assert stop_index([-0.6, math.nan, -0.3, -0.2], -1.0) == 3
    assert decide(TurnEvidence(0, 0, True, "a", 1, -0.1, math.nan), {"bound": -1.0}) == KEEP
    assert decide(TurnEvidence(0, 0, True, "a", 1, -0.1, -3.0), {"bound": -1.0}) == Decision(stop=True)


@pytest.mark.oracle
@given(LOGPROBS, st.one_of(st.none(), st.floats(-1.5, -0.1)))
def test_what_is_kept_ends_before_the_weakest_turn_and_before_the_first_bad_one(logprobs, good):
    turns = good_turns(logprobs, good)
    assert turns <= int(np.argmin(logprobs))
    assert good is None or all(value > good for value in logprobs[:turns])
    assert turns == int(np.argmin(logprobs)) or logprobs[turns] <= good


def test_kept_turns_by_hand():
    assert good_turns([-0.1, -0.2, -0.9, -0.1], -0.8) == 2
    assert good_turns([-0.1, -0.5, -0.2], -0.8) == 1  # all good: before the weakest
    assert good_turns([-0.9, -0.1], -0.8) == 0 and good_turns([], -0.8) == 0
    assert good_turns([-0.1, math.nan, -0.2], None) == 1


def observe(curriculum, *episodes):
    curriculum.observe_episodes([t for t, _ in episodes], [s for _, s in episodes])


def test_the_next_episode_of_the_task_begins_after_the_kept_turns():
    curriculum = Stride(StrideConfig(reuse=1.0))
    assert curriculum.plan(task(), progress()).prefix == ()
    observe(curriculum, played(EpisodePlan(), [-0.1, -0.2, -0.9]))
    plan = curriculum.plan(task(), progress())
    assert plan.prefix == ("do 0", "do 1") and plan.prefix_actor is Actor.STUDENT and plan.horizon is None
    assert plan.recording.observations == ("seen 0", "seen 1", "seen 2") and plan.control.scored
    assert curriculum.plan(task(1), progress()).prefix == ()
    # After it, the values of the kept turns still count for what is kept, and the sum begins anew.
    observe(curriculum, played(plan, [-0.3, -0.95]))
    assert curriculum.plan(task(), progress()).prefix == ("do 0", "do 1", "do 2")
    assert curriculum.kept["made/train/task-0"]["logprobs"] == pytest.approx([-0.1, -0.2, -0.3])
    observe(curriculum, played(curriculum.plan(task(), progress()), [-0.1, -0.2], success=True))
    assert curriculum.plan(task(), progress()).prefix == ()  # won: nothing to begin again


def test_of_several_episodes_of_a_task_the_longest_prefix_is_kept():
    curriculum = Stride(StrideConfig(reuse=1.0))
    observe(
        curriculum,
        played(EpisodePlan(), [-0.1, -0.9]),
        played(EpisodePlan(), [-0.1, -0.2, -0.3, -0.9]),
        played(EpisodePlan(), [-0.9]),
    )
    assert len(curriculum.plan(task(), progress()).prefix) == 3
    observe(curriculum, played(EpisodePlan(), [-0.1, -0.9]), played(EpisodePlan(), [-0.1], success=True))
    assert curriculum.kept == {}


def test_a_turn_that_was_not_accepted_is_never_replayed():
    curriculum = Stride(StrideConfig(reuse=1.0))
    observe(curriculum, played(EpisodePlan(), [-0.1, -0.2, -0.1, -0.9], invalid=[2]))
    assert len(curriculum.plan(task(), progress()).prefix) == 2


def test_prefixes_are_used_as_often_as_asked_and_the_oldest_go_first():
    curriculum = Stride(StrideConfig(reuse=0.3, capacity=3))
    for number in range(5):
        observe(curriculum, played(EpisodePlan(), [-0.1, -0.9], number=number))
    assert list(curriculum.kept) == [f"made/train/task-{number}" for number in (2, 3, 4)]
    used = sum(bool(curriculum.plan(task(4), progress(seed=seed)).prefix) for seed in range(2000)) / 2000
    assert abs(used - 0.3) < 4 * (0.3 * 0.7 / 2000) ** 0.5


def test_a_resumed_buffer_goes_on():
    curriculum = Stride(StrideConfig(capacity=4))
    for number in range(6):
        observe(curriculum, played(EpisodePlan(), [-0.1, -0.2, -0.9], number=number))
    other = reborn(curriculum)
    assert list(other.kept) == list(curriculum.kept)
    for number in range(8):
        for seed in range(4):
            ours, theirs = (c.plan(task(number), progress(seed=seed)) for c in (curriculum, other))
            assert ours == theirs
        for each in (curriculum, other):
            observe(each, played(EpisodePlan(), [-0.1, -0.9], number=number))


def test_played_stopped_and_begun_again_in_the_same_state():
    """The teacher dislikes every fourth turn: the episode ends there, and the next one goes on before it."""

    def score(trajectories):
        found = []
        for trajectory in trajectories:
            logprob = -0.9 if trajectory.steps[0].index % 4 == 3 else -0.05
            values = np.where(trajectory.rows[0].mask, logprob, np.nan).astype(np.float32)
            found.append([TeacherScores(values, np.isfinite(values))])
        return found

    def rollout(plan):
        engine = ScriptedEngine(lambda session, turn, prompt: "ahead")
        (trajectory,) = play(
            [dataclasses.replace(requests(4)[3], plan=plan)], source=CorridorSource(), engine=engine, context=CONTEXT,
            renderer=renderer(), settings=RolloutSettings(), score=score,
        )  # fmt: skip
        curriculum.observe_episodes([trajectory], None)
        return trajectory

    curriculum = Stride(StrideConfig(bound=-1.0, good=-0.8, reuse=1.0))
    first = rollout(curriculum.plan(requests(4)[3].task, progress()))
    assert len(first.steps) == 4 and first.stop is StopReason.HORIZON
    assert first.steps[-1].info["control"]["stop"] and first.steps[-1].loss_role is LossRole.DISTILL
    plan = curriculum.plan(requests(4)[3].task, progress())
    assert plan.prefix == ("ahead",) * 3
    second = rollout(plan)
    assert [s.observation for s in second.steps[:4]] == [s.observation for s in first.steps]
    assert [s.loss_role for s in second.steps[:4]] == [LossRole.NONE] * 3 + [LossRole.DISTILL]
    # The replayed turns have no part in the sum: with them, turn 3 would have ended it again.
    assert len(second.steps) == 7 and second.stop is StopReason.HORIZON
    assert second.meta["student_steps"] == 4 and not second.rows[0].mask[: second.steps[3].start].any()
