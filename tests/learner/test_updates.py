"""Several updates from one batch."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from agentdistill.learner.facts import BatchExtras
from agentdistill.learner.settings import LearnerSettings
from agentdistill.learner.updates import joined, updates
from agentdistill.records import EpisodePlan, Step, StopReason, Task, Trajectory


def batch(tasks: int, samples: int) -> list[Trajectory]:
    steps = [Step(0, "", "", "", row=0)]
    return [
        Trajectory(Task("toy", "train", f"task-{t}"), EpisodePlan(), steps, [], StopReason.SUCCESS, sample=s)
        for t in range(tasks)
        for s in range(samples)
    ]


def test_one_of_each_is_the_batch_itself() -> None:
    episodes = batch(3, 2)
    ((same, scores, extras),) = updates(episodes, None, None, LearnerSettings(), 5)
    assert same is episodes and scores is None and extras is None


def test_every_epoch_sees_each_episode_once_and_tasks_stay_together() -> None:
    episodes = batch(7, 3)
    rewards = [np.full(1, i, dtype=np.float32) for i in range(len(episodes))]
    scores = [[] for _ in episodes]
    parts = updates(episodes, scores, BatchExtras(rewards=rewards), LearnerSettings(epochs=2, minibatches=3), 0)
    assert len(parts) == 6
    for epoch in (parts[:3], parts[3:]):
        assert sorted(float(r[0]) for _, _, extras in epoch for r in extras.rewards) == list(range(21))
    for some, opinions, extras in parts:
        assert len(some) == len(opinions) == len(extras.rewards) and extras.advantages is None
        assert all(episodes[int(r[0])] is t for t, r in zip(some, extras.rewards, strict=True))
        keys = [t.task.key for t in some]
        assert all(keys.count(key) == 3 for key in keys)
    first, second = ([[t.task.key for t in part[0]] for part in half] for half in (parts[:3], parts[3:]))
    assert first != second
    again = updates(episodes, scores, BatchExtras(rewards=rewards), LearnerSettings(epochs=2, minibatches=3), 0)
    assert [[t.task.key for t in part[0]] for part in again] == first + second


def test_parts_that_filters_emptied_make_no_update() -> None:
    episodes = batch(2, 1)
    episodes[1] = dataclasses.replace(episodes[1], steps=[])
    assert [len(part[0]) for part in updates(episodes, None, None, LearnerSettings(minibatches=2), 0)] == [1]


def test_metrics_are_those_of_the_first_epoch_and_say_how_far_the_student_moved() -> None:
    seen = [
        {"tokens/distill": 3.0, "tokens/dead_rate": 0.5, "loss": 1.0, "weight/step_max": 2.0, "gap/logprob_mean": 0.0},
        {"tokens/distill": 5.0, "tokens/dead_rate": 0.1, "loss": 3.0, "weight/step_max": 1.0, "gap/logprob_mean": 0.4},
        {"tokens/distill": 9.0, "loss": 9.0, "gap/logprob_mean": 0.7},
        {"tokens/distill": 9.0, "loss": 9.0, "gap/logprob_mean": 0.9, "ratio/clip_rate": 0.2},
    ]
    merged = joined(seen, epochs=2)
    assert merged["tokens/distill"] == 8 and merged["loss"] == 2 and merged["weight/step_max"] == 2
    assert merged["tokens/dead_rate"] == pytest.approx(0.3)
    assert merged["gap/logprob_mean"] == 0 and merged["updates/gap_mean"] == 0.9
    assert merged["updates/clip_rate"] == 0.2 and merged["updates/count"] == 4
    assert joined(seen[:1], epochs=1) == seen[0]
