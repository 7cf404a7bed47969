"""Guided-OPD (arXiv 2606.15912): in each turn the teacher plays instead of the student with a probability that fades.

A student that errs early leads its episodes away from what its teacher knows, and from the later parts of the task: it
then learns, correctly, that the decisive action is rarely the right one. A teacher that plays some turns of the same
episode keeps those parts in view, while everything the student writes is still its own and still scored.

Formula: each turn is the guide's with probability beta, the same for all turns of an episode, at step s of S

    beta = beta_0 + (beta_1 - beta_0) (1 - cos(pi p)) / 2      p = min(s / (rho S), 1)

The guide's turns are imitated (cross-entropy on its own tokens), the student's have the loss of the run.

Defaults (the paper's): beta_0 = 1, beta_1 = 0, rho = 0.8, whole episodes.

Differences: the guide's turns are written by its own model and kept as tokens, never written anew from their text, and
have no log-ratio to the teacher; how much both parts count beside each other is not printed in the paper, here it is
`optim.imitation`. A `start` lets the depth grow as well, as in `tcod-f2b`, which the paper does not.

Proof tests: tests/curricula/test_guided.py (both ends of the schedule, share of guided turns, their independence),
tests/rollout/test_guided_play.py (who is trained with what, nothing depends on what else is in flight).
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from agentdistill.records import Actor, EpisodePlan, LossRole, Task
from agentdistill.training.curriculum import Progress
from agentdistill_curricula.depth import DepthConfig, FrontToBack


class GuidedConfig(DepthConfig):
    """Who plays, and how deep.

    Attributes:
        guide: who plays the guided turns: the "teacher", sampled like the student, or the environment's "expert".
        first_share: probability of a guided turn at the first step (the paper's beta_0).
        last_share: the same at the end of the fade (the paper's beta_1).
        fade: share of the run that the fade takes (the paper's rho); 0 is `last_share` from the start.
        imitate: learn the guide's turns by cross-entropy, as the paper does; otherwise they are context only.
        start: depth of the first batch, in turns; None is whole episodes (the paper's).
        every: optimiser steps per extra turn of depth.
        maximum: largest depth; None is the episode's step limit.
        first: number of the first batch.
    """

    guide: Literal["teacher", "expert"] = "teacher"
    first_share: float = Field(default=1.0, ge=0.0, le=1.0)
    last_share: float = Field(default=0.0, ge=0.0, le=1.0)
    fade: float = Field(default=0.8, ge=0.0, le=1.0)
    imitate: bool = True
    start: int | None = Field(default=None, ge=1)  # type: ignore[assignment]


def share(config: GuidedConfig, step: int, total: int) -> float:
    """The probability beta at a step."""
    p = min(step / (config.fade * total), 1.0) if config.fade else 1.0
    return config.first_share + (config.last_share - config.first_share) * (1.0 - math.cos(math.pi * p)) / 2.0


class Guided(FrontToBack):
    """Draws who plays turn by turn; with a `start`, inside the growing window of `tcod-f2b`.

    With both shares at 0 it plans what `tcod-f2b` plans (with a `start`) or what `full` plans (without).
    """

    config: GuidedConfig

    def __init__(self, config: GuidedConfig) -> None:
        """Keeps the options."""
        super().__init__(config)
        self.needs = frozenset({config.guide}) if config.first_share or config.last_share else frozenset()

    def plan(self, task: Task, progress: Progress) -> EpisodePlan:
        """The window's horizon and the step's share; the rollout draws each turn from the episode's own seed."""
        config = self.config
        probability = share(config, progress.step, progress.total_steps)
        whole = config.start is None
        window = EpisodePlan(note={"depth": float(progress.max_steps)}) if whole else super().plan(task, progress)
        return EpisodePlan(
            horizon=window.horizon,
            guide=probability,
            guide_actor=Actor(config.guide),
            guide_role=LossRole.IMITATE if config.imitate else LossRole.NONE,
            note={**window.note, "guide": probability},
        )
