"""A bound on how old the policy may be that played an episode, in optimiser steps.

Recipes of multi-turn distillation bound it at 2 (arXiv 2604.24005, released code); at 4 DivOPD measured 6.4 points
less. Runs that play and learn in turn have a staleness of 0 and lose nothing; the bound is for stored, replayed or
asynchronous episodes.

Defaults: 2. Proofs: tests/filters/test_episodes.py (the bound is inclusive; an episode from the future is an error).
"""

from __future__ import annotations

from pydantic import Field

from agentdistill.errors import TrainingError
from agentdistill.plugins import PluginConfig
from agentdistill.training.rewarded import ScoredBatch
from agentdistill_filters.keep import Keep, episodes


class StalenessConfig(PluginConfig):
    """The bound.

    Attributes:
        steps: optimiser steps that the policy of an episode may be behind.
    """

    steps: int = Field(default=2, ge=0)


def staleness(batch: ScoredBatch, config: StalenessConfig) -> Keep:
    """Episodes that are fresh enough.

    Raises:
        TrainingError: an episode claims to be by a later policy than there is.
    """
    ages = [batch.step - t.policy_version for t in batch.trajectories]
    if min(ages, default=0) < 0:
        ahead = batch.trajectories[ages.index(min(ages))]
        raise TrainingError(
            f"An episode of the task {ahead.task.key!r} says it was played by the policy of step "
            f"{ahead.policy_version}, but this is step {batch.step}.",
            "It belongs to another run, or to a later part of this one.",
            "Use episodes of this run only, or leave the filter out.",
        )
    return episodes(batch, [age <= config.steps for age in ages])
