"""UOPD (released code, 2026): the teacher takes over the turns it finds most surprising.

In every turn the student writes first. Where the teacher is more surprised by it than by most turns lately, the
student has left what the teacher knows: the turn is not sent, the teacher writes and plays its own instead, which is
imitated. Everything else is the student's own and distilled as always.

Formula: u = mean_j(-log pi_T(y_j)) over the student's response; takeover where u > tau, the (1 - r) quantile of the
last `window` values of u. The rate r goes linearly from `first_rate` to `last_rate` over the first `fade` of the run.
Loss per token: -log pi_S of the teacher's turns where it took over, else that of the run.

Defaults (from the release): window 1000, nobody takes over before 300 values are known, r from .3 to .05 over half of
the run.

Differences: the quantile is that of the steps before (the window grows when a step is done, the release's during it),
so that a batch does not depend on the order in which its turns are played, and a resumed run plays the same. All u are
kept, also those of turns that were replaced.

Proof tests: tests/curricula/test_uopd.py (rate approaches r, the window forgets, no log-ratio on the teacher's turns,
resume).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from agentdistill.plugins import PluginConfig
from agentdistill.records import Actor, EpisodePlan, LossRole, Task, TeacherScores, Trajectory, TurnControl
from agentdistill.rollout.control import KEEP, Decision, TurnEvidence
from agentdistill.training.curriculum import CurriculumBase, Progress


class UopdConfig(PluginConfig):
    """When the guide takes over.

    Attributes:
        guide: who takes over: the "teacher", sampled like the student, or the environment's "expert". The surprise is
            the teacher's in either case.
        first_rate: share of turns taken over at the first step.
        last_rate: the same once the rate has faded.
        fade: share of the run that the fade takes; 0 is `last_rate` from the start.
        window: turns whose surprise the quantile is taken of.
        minimum: turns that must be known before anybody takes over.
        imitate: learn the guide's turns by cross-entropy; otherwise they are context only.
    """

    guide: Literal["teacher", "expert"] = "teacher"
    first_rate: float = Field(default=0.3, ge=0.0, le=1.0)
    last_rate: float = Field(default=0.05, ge=0.0, le=1.0)
    fade: float = Field(default=0.5, ge=0.0, le=1.0)
    window: int = Field(default=1000, ge=1)
    minimum: int = Field(default=300, ge=1)
    imitate: bool = True

    @model_validator(mode="after")
    def _reachable(self) -> UopdConfig:
        if self.minimum > self.window:
            raise ValueError(f"minimum = {self.minimum} can never be known in a window of {self.window}")
        return self


def rate(config: UopdConfig, step: int, total: int) -> float:
    """The rate r at a step: linear from `first_rate` to `last_rate`, then constant."""
    done = min(step / (config.fade * total), 1.0) if config.fade else 1.0
    return config.first_rate + (config.last_rate - config.first_rate) * done


def decide(evidence: TurnEvidence, numbers: Mapping[str, float]) -> Decision:
    """Hands the turn over when the teacher's surprise is above the threshold; NaN (no opinion) is not."""
    return Decision(guide=1) if -evidence.teacher_logprob > numbers["threshold"] else KEEP


class Uopd(CurriculumBase):
    """Keeps the surprises of the last turns."""

    def __init__(self, config: UopdConfig) -> None:
        """Keeps the options."""
        self.config = config
        self.needs = frozenset({config.guide, "scores"})
        self.surprises: list[float] = []

    def threshold(self, progress: Progress) -> float:
        """tau, infinite while too little is known."""
        share = rate(self.config, progress.step, progress.total_steps)
        if len(self.surprises) < self.config.minimum or not share:
            return math.inf
        return float(np.quantile(np.asarray(self.surprises), 1.0 - share)) if share < 1 else -math.inf

    def plan(self, task: Task, progress: Progress) -> EpisodePlan:
        """A whole episode under the threshold of this step."""
        threshold = self.threshold(progress)
        return EpisodePlan(
            guide_actor=Actor(self.config.guide),
            guide_role=LossRole.IMITATE if self.config.imitate else LossRole.NONE,
            control=TurnControl(f"{__name__}:decide", {"threshold": threshold}, scored=True),
            note={"threshold": threshold},
        )

    def observe_episodes(
        self, trajectories: Sequence[Trajectory], scores: Sequence[Sequence[TeacherScores]] | None
    ) -> None:
        """Adds the surprises of the step, as they were when the turns were decided on."""
        for trajectory in trajectories:
            for step in trajectory.steps:
                logprob = step.info.get("control", {}).get("teacher_logprob", math.nan)
                if math.isfinite(logprob):
                    self.surprises.append(-logprob)
        del self.surprises[: -self.config.window]

    def state_dict(self) -> dict[str, Any]:
        """The window."""
        return {"surprises": list(self.surprises)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the window."""
        self.surprises = [float(value) for value in state["surprises"]]
