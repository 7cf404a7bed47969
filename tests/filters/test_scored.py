"""Turns that the teacher has no opinion on are left out, and nothing else."""

from __future__ import annotations

import numpy as np
from made_episodes import make_episode, random_scores

from agentdistill.records import EpisodePlan, LossRole
from agentdistill.training.judges import Judges
from agentdistill.training.rewarded import ScoredBatch
from agentdistill_filters.scored import ScoredConfig, scored

TURNS = [(5, 3), (4, 2), (3, 2)]


def batch(trajectories, scores):
    return ScoredBatch(trajectories, scores, None, np.arange(len(trajectories)), step=0)


def silent(scores, step) -> None:
    for values in (scores.sampled_logprob, scores.valid):
        values[step.start : step.end] = np.nan if values.dtype.kind == "f" else False


def test_turns_without_any_score_are_dropped():
    for one_row in (True, False):
        trajectory = make_episode(turns=TURNS, one_row=one_row)
        ((*own,),) = random_scores([trajectory])
        silent(own[trajectory.steps[1].row], trajectory.steps[1])
        own[trajectory.steps[2].row].valid[trajectory.steps[2].start] = False
        (kept,) = scored(batch([trajectory], [own]), ScoredConfig())
        assert kept.tolist() == [True, False, True]


def test_without_a_teacher_and_for_turns_without_tokens_nothing_is_dropped():
    trajectory = make_episode(turns=TURNS, replayed=1)
    assert scored(batch([trajectory], None), ScoredConfig())[0].all()
    scores = random_scores([trajectory])
    assert scored(batch([trajectory], scores), ScoredConfig())[0].all()


def test_a_batch_nobody_has_an_opinion_on_is_empty_and_not_an_error():
    trajectories = [make_episode(turns=TURNS, seed=n) for n in range(2)]
    scores = random_scores(trajectories)
    for trajectory, (own,) in zip(trajectories, scores, strict=True):
        for step in trajectory.steps:
            silent(own, step)
    judges = Judges(filters={"scored": lambda one: scored(one, ScoredConfig())})
    left, _, metrics = judges(trajectories, scores, 0)
    assert metrics["batch/empty"] == 1.0 and metrics["filter/scored"] == 1.0
    assert all(step.loss_role is LossRole.NONE for t in left for step in t.steps)
    assert all(t.plan == EpisodePlan() for t in left)
