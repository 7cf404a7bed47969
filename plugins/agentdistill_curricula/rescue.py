"""Rescue on no progress (the "+R" of DivOPD): a guide plays a few turns for a student that is stuck.

An episode that repeats itself fills a batch with the same useless turns. After several turns in a row that led nowhere,
the guide plays the next few, which are not trained, and the student goes on from there.

Formula: a turn leads nowhere when the environment does not accept it, or when it repeats the action of the turn before
and what is seen is unchanged. After `patience` such turns (the paper's p, 2 to 6) the guide plays `turns` turns (the
paper's 4 to 6), as often as it happens.

Defaults: patience 3, turns 4.

Differences: the paper compares the admissible actions, here the observation, which every environment has. The choice of
turns for a batch, the other half of DivOPD, is a filter, not this.

Proof tests: tests/curricula/test_rescue.py (when it begins and ends, nothing of the guide is trained, no help is no
change).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from agentdistill.plugins import PluginConfig
from agentdistill.records import Actor, EpisodePlan, LossRole, Task, TurnControl
from agentdistill.rollout.control import KEEP, Decision, TurnEvidence
from agentdistill.training.curriculum import CurriculumBase, Progress


class RescueConfig(PluginConfig):
    """When help comes, and for how long.

    Attributes:
        guide: who helps: the "teacher", or the environment's "expert".
        patience: turns in a row that led nowhere before help comes.
        turns: turns that the guide plays.
        imitate: learn the guide's turns by cross-entropy; the paper leaves them out.
    """

    guide: Literal["teacher", "expert"] = "teacher"
    patience: int = Field(default=3, ge=1)
    turns: int = Field(default=4, ge=1)
    imitate: bool = False


def decide(evidence: TurnEvidence, numbers: Mapping[str, float]) -> Decision:
    """Hands over when nothing has moved for long enough."""
    return Decision(guide=int(numbers["turns"])) if evidence.stale >= numbers["patience"] else KEEP


class Rescue(CurriculumBase):
    """Whole episodes with help where they are stuck; no state."""

    def __init__(self, config: RescueConfig) -> None:
        """Keeps the options."""
        self.config = config
        self.needs = frozenset({config.guide})

    def plan(self, task: Task, progress: Progress) -> EpisodePlan:
        """A whole episode under the control."""
        config = self.config
        numbers = {"patience": float(config.patience), "turns": float(config.turns)}
        return EpisodePlan(
            guide_actor=Actor(config.guide),
            guide_role=LossRole.IMITATE if config.imitate else LossRole.NONE,
            control=TurnControl(f"{__name__}:decide", numbers),
        )
