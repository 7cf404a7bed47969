"""Rewards, advantages, filters and a fusion of a few lines, named by `type = "toy_judges:..."` in tests."""

from __future__ import annotations

import numpy as np
import torch

from agentdistill.learner.fusion import FusionBase, Scales
from agentdistill.learner.statistics import requires


def talkative(trajectory, config):
    """As many points as letters written in a turn."""
    return np.array([len(step.response) for step in trajectory.steps], dtype=np.float32)


def not_finite(trajectory, config):
    return np.full(len(trajectory.steps), np.nan, dtype=np.float32)


class Judge:
    """Scores all episodes at once and writes an annotation."""

    annotates = frozenset({"judge"})

    def __init__(self, config):
        self.calls = 0

    def score(self, trajectories):
        self.calls += 1
        for trajectory in trajectories:
            for step in trajectory.steps:
                step.info.setdefault("annotations", {})["judge"] = 1.0
        return [np.ones(len(t.steps), dtype=np.float32) for t in trajectories]


def centred(batch, config):
    """Total reward minus that of the task's episodes."""
    totals = np.array([r.sum() for r in batch.rewards])
    return [
        np.full(len(r), totals[i] - totals[batch.group == batch.group[i]].mean(), dtype=np.float32)
        for i, r in enumerate(batch.rewards)
    ]


def first_turn_only(batch, config):
    return [np.arange(len(t.steps)) == 0 for t in batch.trajectories]


def nothing(batch, config):
    return [np.zeros(len(t.steps), dtype=bool) for t in batch.trajectories]


@requires("old_entropy", "teacher_entropy", "teacher_confidence", "overlap", "reference", "role")
def everything_known(tokens, config):
    """A token weight that is there to see that what it asked for is there."""
    known = (tokens.old_entropy, tokens.teacher_entropy, tokens.teacher_confidence, tokens.overlap)
    assert all(bool(torch.isfinite(t).all()) for t in (*known, tokens.reference_logprob))
    assert bool((tokens.old_entropy >= 0).all()) and bool((tokens.teacher_confidence <= 1).all())
    assert int(tokens.role.max()) > 0
    return torch.full((len(tokens),), 2.0)


@requires("annotation:judge")
def judged(steps, config):
    return 2.0 * steps.annotations["judge"].nan_to_num(1.0)


class Growing(FusionBase):
    """Counts on rewards more the more steps it has seen."""

    def __init__(self, config):
        self.seen = 0

    def scales(self, progress):
        return Scales(1.0, 0.1 * self.seen)

    def observe(self, metrics):
        self.seen += 1

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state):
        self.seen = state["seen"]
