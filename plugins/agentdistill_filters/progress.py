"""Drops turns that get nowhere: invalid again and again, or the same action in the same place.

A turn is stuck when its action was not valid, or when it repeats the action of the turn before after the very same
observation. The first `patience` turns of such a run are kept (they are how one gets out of it), the rest is dropped
until a turn that is not stuck. On these turns student and teacher agree on nonsense: repeated tokens get several times
the advantage of others and can become a third of a batch (arXiv 2604.08527), and small gaps there say nothing.

The warm-up recipe OPW drops repeated invalid actions likewise; DivOPD lets the teacher play on instead, which is a
curriculum's business.

Defaults: patience 2. Proofs: tests/filters/test_turns.py (runs, their ends, mixed reasons, replayed turns, episodes of
one turn).
"""

from __future__ import annotations

from pydantic import Field

from agentdistill.plugins import PluginConfig
from agentdistill.records import Trajectory
from agentdistill.training.rewarded import ScoredBatch
from agentdistill_filters.keep import Keep, everything


class ProgressConfig(PluginConfig):
    """The patience.

    Attributes:
        patience: stuck turns in a row that are still trained.
    """

    patience: int = Field(default=2, ge=0)


def progress(batch: ScoredBatch, config: ProgressConfig) -> Keep:
    """Turns that are not beyond the patience, see the module."""
    kept = everything(batch)
    for mask, trajectory in zip(kept, batch.trajectories, strict=True):
        run = 0
        for place in range(len(trajectory.steps)):
            run = run + 1 if stuck(trajectory, place) else 0
            mask[place] = run <= config.patience
    return kept


def stuck(trajectory: Trajectory, place: int) -> bool:
    """Whether a turn got nowhere."""
    step = trajectory.steps[place]
    if not step.valid:
        return True
    before = trajectory.steps[place - 1] if place else None
    return before is not None and (step.action, step.observation) == (before.action, before.observation)
