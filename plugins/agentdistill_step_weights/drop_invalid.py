"""Drops invalid actions that repeat: a student that is stuck has nothing to be taught there.

In a loop of refused commands the same prompt comes back with the same answer, and the loop can fill most of an
episode's tokens. The first invalid turns of a run keep their weight, so that the mistake itself is corrected; the rest
of the run weighs `weight`:

    w_k = weight if turn k is invalid and at least `keep` invalid turns stand directly before it, else 1

It follows OPW's rule (the teacher's supervision is dropped on repeated invalid actions), with one difference: a weight
sees that a turn was invalid, not what was written, so two different invalid actions in a row count as a repetition,
too. A turn that somebody else played in between ends the run. Branches as given, `kd` by default: rewards should go on
telling the student that loops lose.

Proof tests: valid turns always 1, the run's first turns kept, gaps and trajectories end a run, a loop over turns.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from agentdistill.learner.statistics import StepStatistics
from agentdistill.plugins import PluginConfig


class DropInvalidConfig(PluginConfig):
    """Weights by how long the student has been stuck.

    Attributes:
        keep: invalid turns in a row that keep their weight; 1 drops every repetition, 0 every invalid turn.
        weight: what the others weigh.
        branches: which signals are weighed: "kd", "rl" or both.
    """

    keep: int = Field(default=1, ge=0)
    weight: float = Field(default=0.0, ge=0.0, le=1.0)
    branches: tuple[Literal["kd", "rl"], ...] = Field(default=("kd",), min_length=1)


def drop_invalid(steps: StepStatistics, config: DropInvalidConfig) -> dict[str, Tensor]:
    """Weighs repeated invalid turns less.

    Args:
        steps: step statistics.
        config: the options.

    Returns:
        float32 [trajectories, steps], `weight` or 1, for each branch.
    """
    invalid = steps.mask & ~steps.valid
    goes_on = torch.zeros_like(invalid)
    goes_on[:, 1:] = invalid[:, 1:] & invalid[:, :-1] & (steps.index[:, 1:] == steps.index[:, :-1] + 1)
    column = torch.arange(steps.shape[1], device=invalid.device).expand(steps.shape)
    began = torch.where(goes_on, 0, column).cummax(dim=1).values
    weights = torch.where(invalid & (column - began >= config.keep), config.weight, 1.0).float()
    return dict.fromkeys(config.branches, weights)
