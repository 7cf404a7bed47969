"""ReOPD: which turn is drawn, and that an environment is neither made nor called."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
from rollout.toy_world import CorridorSource, ScriptedEngine, lost, renderer, requests
from scored import progress, reborn, task

from agentdistill.learner.batch import assemble
from agentdistill.records import Actor, EpisodePlan, LossRole, TeacherScores
from agentdistill.rollout.play import RolloutSettings, play
from agentdistill.training.recordings import ExpertRecordings
from agentdistill_contexts.append import AppendConfig, AppendContext
from agentdistill_curricula.reopd import Reopd, ReopdConfig, draw, probabilities

CONTEXT = AppendContext(AppendConfig())


@pytest.mark.oracle
def test_a_turn_has_the_probability_of_the_paper():
    assert probabilities(0.6, 3) == pytest.approx([1 / 1.96, 0.6 / 1.96, 0.36 / 1.96])
    assert probabilities(1.0, 4) == [0.25] * 4
    curriculum = Reopd(ReopdConfig())
    recording = ExpertRecordings(CorridorSource(), 30)(requests(1)[0].task)
    assert recording is not None and len(recording.actions) == 3
    drawn = Counter(
        len(curriculum.plan(task(), progress(recording=recording, seed=seed)).prefix) for seed in range(4000)
    )
    for turn, expected in enumerate(probabilities(0.6, 3)):
        assert abs(drawn[turn] / 4000 - expected) < 4 * (expected * (1 - expected) / 4000) ** 0.5


def test_every_turn_can_be_drawn_and_no_other():
    assert [draw(0.5, 3, number) for number in (0.0, 0.57, 0.58, 0.85, 0.86, 0.9999999)] == [0, 0, 1, 1, 2, 2]
    assert draw(0.5, 1, 0.99) == 0


def test_it_trains_one_turn_and_calls_no_environment():
    expert = ExpertRecordings(CorridorSource(), 30)
    curriculum, source = Reopd(ReopdConfig(kappa=1.0)), CorridorSource()
    batch = [
        dataclasses.replace(r, plan=curriculum.plan(r.task, progress(recording=expert(r.task), seed=r.seed)))
        for r in requests(20)
    ]
    trajectories = play(
        batch, source=source, engine=ScriptedEngine(lost), renderer=renderer(), context=CONTEXT,
        settings=RolloutSettings(want_expert=True),
    )  # fmt: skip
    assert (source.made, source.resets, source.commands) == ([], [], [])
    assert len({len(t.steps) for t in trajectories}) > 3
    for trajectory in trajectories:
        turn = int(trajectory.plan.note["turn"])
        assert [s.loss_role for s in trajectory.steps] == [LossRole.NONE] * turn + [LossRole.DISTILL]
        recording = expert(trajectory.task)
        assert [s.action for s in trajectory.steps[:turn]] == list(recording.actions[:turn])
        assert [s.observation for s in trajectory.steps] == list(recording.observations[: turn + 1])
        assert trajectory.steps[-1].info["expert_action"] == recording.actions[turn]
        assert trajectory.plan.prefix_actor is Actor.EXPERT
    scores = [
        [TeacherScores(np.zeros(len(r), np.float32), np.ones(len(r), bool)) for r in t.rows] for t in trajectories
    ]
    distilled = assemble(trajectories, scores).distill
    by_episode = {int(t): set() for t in distilled.trajectory}
    for index, turn in zip(distilled.trajectory.tolist(), distilled.turn.tolist(), strict=True):
        by_episode[index].add(turn)
    assert by_episode == {i: {len(t.steps) - 1} for i, t in enumerate(trajectories)}


def test_a_task_without_a_recording_costs_and_trains_nothing():
    plan = Reopd(ReopdConfig()).plan(task(), progress())
    assert plan == EpisodePlan(offline=True, horizon=1, note={"recorded": 0.0})


def test_a_recording_longer_than_the_limit_is_used_as_far_as_it_goes():
    recording = ExpertRecordings(CorridorSource(), 30)(requests(4)[3].task)
    curriculum = Reopd(ReopdConfig(kappa=1.0))
    lengths = {len(curriculum.plan(task(), progress(limit=4, recording=recording, seed=s)).prefix) for s in range(60)}
    assert lengths == {0, 1, 2, 3}
    assert reborn(curriculum).needs == {"recordings"}
