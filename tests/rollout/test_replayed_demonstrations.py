"""Prefixes of demonstrations: what the world refused while it was recorded may be replayed, and is compared."""

from __future__ import annotations

import dataclasses

import pytest
from toy_world import CorridorEnv, CorridorSource, ScriptedEngine, renderer, requests, right

from agentdistill.records import EpisodePlan, LossRole, StopReason, Task, trainable_tokens
from agentdistill.rollout.play import RolloutSettings, play
from agentdistill.training.curriculum import Progress
from agentdistill.training.demonstrations import demonstrated, no_demonstrations, with_recording
from agentdistill.training.recordings import ExpertRecordings, recording_of
from agentdistill_contexts.append import AppendConfig, AppendContext
from agentdistill_curricula.depth import BackToFront, DepthConfig
from agentdistill_curricula.pope import Pope, PopeConfig

TASK = requests(2)[1].task  # a corridor of five steps


class StumblingEnv(CorridorEnv):
    """Its expert begins with a word that does nothing, and goes on from there, as a real one does."""

    def info(self, valid: bool):
        info = super().info(valid)
        if self.expert and not self.taken:
            info["expert_action"] = "abracadabra"
        return info


class StumblingSource(CorridorSource):
    """Makes corridors whose expert stumbles."""

    def make(self) -> StumblingEnv:
        self.made.append(StumblingEnv(self))
        return self.made[-1]


def run(plan: EpisodePlan, task: Task = TASK):
    request = dataclasses.replace(requests(2)[1], task=task, plan=plan)
    (played,) = play(
        [request], source=CorridorSource(), engine=ScriptedEngine(right), renderer=renderer(),
        context=AppendContext(AppendConfig()), settings=RolloutSettings(),
    )  # fmt: skip
    return played


@pytest.fixture
def recordings() -> ExpertRecordings:
    return ExpertRecordings(StumblingSource(), 30)


def test_the_stumble_is_in_the_demonstration(recordings):
    found = recordings(TASK)
    assert found.actions == ("abracadabra", *("ahead",) * 5, "open")
    assert found.observations[1] == "Nothing happens."
    assert demonstrated(recordings)(TASK) == found.actions and no_demonstrations(TASK) is None


@pytest.mark.parametrize(
    "curriculum", [BackToFront(DepthConfig(start=2, every=1)), Pope(PopeConfig(guided=1.0, shortest=0.4))]
)
def test_curricula_replay_it(recordings, curriculum):
    progress = Progress(0, 10, 30, demonstrated(recordings), recordings, seed=1)
    plan = with_recording(curriculum.plan(TASK, progress), TASK, recordings)
    length = len(plan.prefix)
    assert length > 1 and plan.prefix[0] == "abracadabra"
    assert plan.recording.observations == recordings(TASK).observations[: length + 1]
    played = run(plan)
    assert played.success and played.stop is StopReason.SUCCESS
    assert [step.valid for step in played.steps[:2]] == [False, True]
    assert all(step.loss_role is LossRole.NONE for step in played.steps[:length])
    assert len(played.steps) == 7 and trainable_tokens([played]) > 0


def test_without_a_recording_every_action_must_be_accepted(recordings):
    plan = EpisodePlan(prefix=recordings(TASK).actions[:3])
    assert "(step 0 of the prefix) was not accepted" in run(plan).meta["error"]
    # What was seen after the last action must be known, too.
    short = dataclasses.replace(recordings(TASK).upto(1), observations=recordings(TASK).observations[:1])
    plan = EpisodePlan(prefix=plan.prefix[:1], recording=short)
    assert "(step 0 of the prefix) was not accepted" in run(plan).meta["error"]


def test_a_refused_action_that_shows_something_else_costs_its_episode(recordings):
    recording = recordings(TASK)
    seen = (recording.observations[0], "A bird flies up.", *recording.observations[2:])
    plan = EpisodePlan(prefix=recording.actions[:3], recording=dataclasses.replace(recording, observations=seen))
    played = run(plan)
    assert played.stop is StopReason.ABORTED and "another way before step 1" in played.meta["error"]


def test_only_prefixes_of_the_recording_get_it(recordings):
    recording = recordings(TASK)
    for plan in (
        EpisodePlan(),
        EpisodePlan(prefix=("ahead",)),
        EpisodePlan(prefix=recording.actions[:2], offline=True),
        EpisodePlan(prefix=recording.actions[:2], recording=recording),
    ):
        assert with_recording(plan, TASK, recordings) is plan
    assert with_recording(EpisodePlan(prefix=("ahead",)), TASK, lambda task: None).recording is None


def test_what_was_sent_is_recorded():
    """A response without a command was sent to the world as it was; that is what a replay must send."""
    played = run(EpisodePlan(horizon=2))
    played.steps[0].action, played.steps[0].info["sent"] = "", "I wonder."
    assert recording_of(played).actions == ("I wonder.", "ahead")
