"""`adaptive`: the student answers for as many turns as its teacher can still judge, and for more as that improves.

A growing depth on a schedule trusts that the student has improved; this one looks. At the frontier, the last turns
before the cut, a teacher that still knows its way gives the student's words a fair log-probability, and differs little
from the student. Both are asked for, since after a few bad turns student and teacher may follow the same bad context:
their KL is then small, and the teacher's log-probability alone tells that nothing it knows is happening.

Rule, with KL = mean log pi_old - log pi_T and l = mean log pi_T per token, averaged over the student's turns at the
frontier (the last `width` turns of the depth) that were seen since the last change, checked once `turns` of them are
there or `patience` steps have passed:

    KL <= kl and l >= logprob               -> one turn deeper
    KL > slack * kl or l < slack * logprob  -> one turn less deep
    otherwise                               -> stay
    fewer than `turns` after `patience`     -> one turn deeper: the cut is not what ends the episodes

The two thresholds lie apart by `slack`, so that depth does not swing. A turn before the cut is measured whatever is cut
after it: how long episodes would have been, or whether they would have succeeded, is never estimated from cut ones.

Defaults: see the options; bounds are nats per token. Measured on full episodes of the models that ship here (six steps
of 16), turns 0, 1, 2, 4, 8, 20 have KL .5, .9, 1.5, 1.8, 1.8, 2.7 and l -.6, -1.1, -1.7, -2.1, -2.1, -3.0: the bounds
lie where that teacher begins to lose its way. One that is never sure of itself needs a lower `logprob`.
This curriculum is ours; no paper.

Proof tests: tests/curricula/test_adaptive.py (each branch of the rule, both signals are needed, it settles where the
teacher stops being reliable, it comes back when the student worsens, resume).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, model_validator

from agentdistill.plugins import PluginConfig
from agentdistill.records import EpisodePlan, Task, TeacherScores, Trajectory
from agentdistill.training.curriculum import CurriculumBase, Progress, turn_scores


class AdaptiveConfig(PluginConfig):
    """What a reliable teacher looks like, and how fast depth follows.

    Attributes:
        start: depth of the first batch, and smallest depth, in turns.
        maximum: largest depth; None is the episode's step limit.
        kl: largest KL per token, nats, at which depth grows.
        logprob: smallest log-probability per token under the teacher, nats, at which depth grows.
        slack: depth shrinks where a bound is passed by this factor; at least 1.
        width: turns of the frontier.
        turns: turns at the frontier that a decision needs.
        patience: steps after which it is made without them.
    """

    start: int = Field(default=2, ge=1)
    maximum: int | None = Field(default=None, ge=1)
    kl: float = Field(default=1.0, gt=0.0)
    logprob: float = Field(default=-1.5, lt=0.0)
    slack: float = Field(default=1.5, ge=1.0)
    width: int = Field(default=1, ge=1)
    turns: int = Field(default=16, ge=1)
    patience: int = Field(default=4, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> AdaptiveConfig:
        if self.maximum is not None and self.maximum < self.start:
            raise ValueError(f"maximum = {self.maximum} is below start = {self.start}")
        return self


def change(config: AdaptiveConfig, kl: float, logprob: float) -> int:
    """The rule for a measured frontier: 1, 0 or -1 turns."""
    if kl <= config.kl and logprob >= config.logprob:
        return 1
    return -1 if kl > config.slack * config.kl or logprob < config.slack * config.logprob else 0


class Adaptive(CurriculumBase):
    """Keeps the depth, and what was measured at it."""

    def __init__(self, config: AdaptiveConfig) -> None:
        """Keeps the options."""
        self.config = config
        self.depth = config.start
        self._forget()

    def _forget(self) -> None:
        self.kl: list[float] = []
        self.logprob: list[float] = []
        self.steps = 0

    def plan(self, task: Task, progress: Progress) -> EpisodePlan:
        """An episode cut at the depth."""
        depth = min(self.depth, progress.max_steps)
        horizon = None if depth >= progress.max_steps else depth
        note = {"depth": float(depth), "limit": float(min(self.config.maximum or math.inf, progress.max_steps))}
        return EpisodePlan(horizon=horizon, note=note)

    def observe_episodes(
        self, trajectories: Sequence[Trajectory], scores: Sequence[Sequence[TeacherScores]] | None
    ) -> None:
        """Measures the frontier, and moves it when enough is known; episodes planned at another depth do not count."""
        config = self.config
        pairs = [(t, s) for t, s in zip(trajectories, scores or (), strict=False) if self._current(t)]
        if not pairs:
            return
        limit = int(pairs[0][0].plan.note["limit"])
        for trajectory, opinions in pairs:
            for score in turn_scores(trajectory, opinions):
                if self.depth - config.width <= score.turn < self.depth:
                    self.kl.append(score.kl)
                    self.logprob.append(score.teacher_logprob)
        self.steps += 1
        seen = len(self.kl)
        if seen < config.turns and self.steps < config.patience:
            return
        enough = seen >= config.turns
        move = change(config, math.fsum(self.kl) / seen, math.fsum(self.logprob) / seen) if enough else 1
        self.depth = max(config.start, min(self.depth + move, limit))
        self._forget()

    def _current(self, trajectory: Trajectory) -> bool:
        note = trajectory.plan.note
        return "limit" in note and note.get("depth") == min(self.depth, note["limit"])

    def state_dict(self) -> dict[str, Any]:
        """Depth and measurements."""
        return {"depth": self.depth, "kl": list(self.kl), "logprob": list(self.logprob), "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores them."""
        self.depth, self.steps = int(state["depth"]), int(state["steps"])
        self.kl, self.logprob = list(state["kl"]), list(state["logprob"])
