"""Recordings: in the place of an environment, and as what a replay must see again."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from toy_world import CorridorSource, ScriptedEngine, lost, renderer, requests, right

from agentdistill.codec import plan_from_dict, plan_to_dict, trajectory_from_dict, trajectory_to_dict
from agentdistill.errors import ConfigError
from agentdistill.records import (
    Actor,
    EpisodePlan,
    LossRole,
    Recording,
    Relabel,
    StopReason,
    TurnControl,
    trainable_tokens,
)
from agentdistill.rollout.play import RolloutSettings, play
from agentdistill.training.recordings import ExpertRecordings, recording_of
from agentdistill_contexts.append import AppendConfig, AppendContext
from agentdistill_contexts.window import WindowConfig, WindowContext

APPEND = AppendContext(AppendConfig())


def run(batch, answer=lost, source=None, context=APPEND, **settings):
    return play(
        batch, source=source or CorridorSource(), engine=ScriptedEngine(answer), renderer=renderer(), context=context,
        settings=RolloutSettings(**settings),
    )  # fmt: skip


def planned(plan, count=1):
    return [dataclasses.replace(request, plan=plan) for request in requests(count)]


@pytest.fixture
def recording() -> Recording:
    (trajectory,) = run(requests(2)[1:], right)
    assert trajectory.success and len(trajectory.steps) == 6
    return recording_of(trajectory)


@pytest.mark.parametrize("context", [APPEND, WindowContext(WindowConfig(steps=2, think=False, admissible=False))])
def test_a_recorded_turn_is_shown_as_the_replayed_one_and_calls_no_environment(recording, context):
    for turn in range(6):
        source = CorridorSource()
        offline = EpisodePlan(
            prefix=recording.actions[:turn], recording=recording.upto(turn), offline=True, prefix_actor=Actor.TEACHER
        )
        batch = [dataclasses.replace(requests(2)[1], plan=offline)]
        (shown,) = run(batch, source=source, context=context)
        assert (source.made, source.resets, source.commands) == ([], [], [])
        live = dataclasses.replace(offline, offline=False, horizon=1)
        (replayed,) = run([dataclasses.replace(batch[0], plan=live)], context=context)
        for a, b in zip(shown.rows, replayed.rows, strict=True):
            assert np.array_equal(a.token_ids, b.token_ids) and np.array_equal(a.mask, b.mask)
        assert [s.observation for s in shown.steps] == [s.observation for s in replayed.steps]
        assert [s.loss_role for s in shown.steps] == [LossRole.NONE] * turn + [LossRole.DISTILL]
        assert [s.actor for s in shown.steps] == [Actor.TEACHER] * turn + [Actor.STUDENT]
        assert shown.stop is StopReason.HORIZON and not shown.success and shown.meta["student_steps"] == 1
        assert shown.steps[-1].info["executed"] is False
        again = trajectory_from_dict(trajectory_to_dict(shown))
        assert again.plan == shown.plan and again.steps == shown.steps


def test_an_offline_episode_without_a_recording_has_no_turns():
    source = CorridorSource()
    (trajectory,) = run(planned(EpisodePlan(offline=True)), source=source)
    assert (trajectory.steps, trajectory.rows, source.made) == ([], [], [])
    assert trajectory.stop is StopReason.HORIZON and trajectory.meta["no_student_steps"]


def test_live_and_recorded_episodes_share_a_batch(recording):
    source = CorridorSource()
    offline = EpisodePlan(prefix=recording.actions[:2], recording=recording.upto(2), offline=True)
    batch = [r if i % 2 else dataclasses.replace(r, plan=offline) for i, r in enumerate(requests(6))]
    played = run(batch, right, source=source, concurrency=3)
    assert [t.success for t in played] == [False, True] * 3
    assert len(source.resets) == 3 and all(env.closed for env in source.made)


def test_a_replay_that_shows_something_else_costs_its_episode(recording):
    good = EpisodePlan(prefix=recording.actions[:3], recording=recording)
    request = requests(2)[1]
    (played,) = run([dataclasses.replace(request, plan=good)])
    assert played.stop is not StopReason.ABORTED
    for place in range(4):
        seen = list(recording.observations)
        seen[place] = "Somewhere else."
        bad = dataclasses.replace(good, recording=dataclasses.replace(recording, observations=tuple(seen)))
        (played,) = run([dataclasses.replace(request, plan=bad)])
        assert played.stop is StopReason.ABORTED and trainable_tokens([played]) == 0
        assert f"another way before step {place}" in played.meta["error"]


def test_a_recorded_response_is_shown_in_its_own_words():
    context = WindowContext(WindowConfig(steps=2, think=True, admissible=False))
    words = "<think>The door is far.</think><action>ahead</action>"
    assert words != context.render_action("ahead") and context.parse(words).well_formed
    recording = Recording("open the door", ("ahead",), ("A corridor.", "You are at 1."), (words,))
    plan = EpisodePlan(prefix=("ahead",), recording=recording, offline=True)
    (trajectory,) = run(planned(plan), context=context)
    assert trajectory.steps[0].response == words
    changed = dataclasses.replace(plan, recording=dataclasses.replace(recording, responses=("something else",)))
    (trajectory,) = run(planned(changed), context=context)
    assert trajectory.steps[0].response == context.render_action("ahead")


def test_a_recording_that_lacks_what_the_prompt_shows_is_an_error(recording):
    short = dataclasses.replace(recording, observations=recording.observations[:2])
    with pytest.raises(ConfigError, match="does not reach turn 3"):
        run(planned(EpisodePlan(prefix=recording.actions[:3], recording=short, offline=True)))
    listing = WindowContext(WindowConfig(steps=2, think=False, admissible=True))
    bare = dataclasses.replace(recording, admissible=())
    with pytest.raises(ConfigError, match="admissible actions of every step"):
        run(planned(EpisodePlan(recording=bare, offline=True)), context=listing)


def test_the_expert_is_recorded_once_per_task():
    source = CorridorSource()
    lookup = ExpertRecordings(source, 30)
    task = requests(2)[1].task
    recording = lookup(task)
    assert lookup(task) is recording and len(source.resets) == 1 and recording.expert
    assert recording.actions == ("ahead",) * 5 + ("open",) and len(recording.observations) == 7
    assert len(recording.admissible) == 7 and recording.goal == "open the door"
    assert ExpertRecordings(CorridorSource(), 3)(task) is None


def test_plans_come_back_from_disk(recording):
    plan = EpisodePlan(
        prefix=("a",), student_role=LossRole.NONE, control=TurnControl("m:f", {"t": float("inf")}, True),
        relabel=Relabel(Actor.EXPERT, 0.5), recording=recording, offline=True,
    )  # fmt: skip
    assert plan_from_dict(plan_to_dict(plan)) == plan
    # What most plans do not have takes no place, and files written before it existed are read.
    assert set(plan_to_dict(EpisodePlan())) == {
        "prefix", "prefix_actor", "horizon", "guide", "guide_actor", "guide_role", "note",
    }  # fmt: skip
    assert plan_from_dict(plan_to_dict(EpisodePlan())) == EpisodePlan()
