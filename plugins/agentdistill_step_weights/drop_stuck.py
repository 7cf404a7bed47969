"""Drops turns in which the student is stuck: there is nothing to be taught in a loop.

In a loop of refused commands the same prompt comes back with the same answer, and the loop can fill most of an
episode's tokens. Turns that are stuck weigh `weight`, but for the first `keep` of each run of them:

    w_k = weight if turn k is stuck and at least `keep` stuck turns stand directly before it, else 1

What stuck means, `on`:
    repeated-invalid   an invalid action that was just tried under the same observation (OPW's rule, the default)
    invalid            any invalid action; with keep = 1 the mistake itself is still corrected
    no-progress        an invalid action, or one that was just taken under the same observation (DivOPD's rule, which
                       also compares the admissible actions and calls the teacher after 2 to 6 such turns)

Where an environment answers a refused command with a sentence of its own, the second try is under another observation
than the first, so the third identical one is the first to be dropped. A turn that somebody else played in between ends
a run. Branches as given, `kd` by default: rewards should go on telling the student that loops lose. The filter
`progress` takes such turns out of the batch instead; weighed down, they stay in the denominators.

Proofs: tests/weights/test_step_methods.py (turns that are not stuck always 1, the run's first turns kept, gaps and
trajectories end a run, the three meanings, a loop over turns).
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from agentdistill.learner.statistics import StepStatistics
from agentdistill.plugins import PluginConfig


class DropStuckConfig(PluginConfig):
    """Weights by whether the student is stuck.

    Attributes:
        on: which turns are stuck.
        keep: stuck turns in a row that keep their weight.
        weight: what the others weigh.
        branches: which signals are weighed: "kd", "rl" or both.
    """

    on: Literal["repeated-invalid", "invalid", "no-progress"] = "repeated-invalid"
    keep: int = Field(default=0, ge=0)
    weight: float = Field(default=0.0, ge=0.0, le=1.0)
    branches: tuple[Literal["kd", "rl"], ...] = Field(default=("kd",), min_length=1)


def drop_stuck(steps: StepStatistics, config: DropStuckConfig) -> dict[str, Tensor]:
    """Weighs turns less in which the student is stuck.

    Args:
        steps: step statistics.
        config: the options.

    Returns:
        float32 [trajectories, steps], `weight` or 1, for each branch.
    """
    invalid = ~steps.valid
    stuck = {
        "repeated-invalid": invalid & steps.repeated,
        "invalid": invalid,
        "no-progress": invalid | steps.repeated,
    }[config.on] & steps.mask
    goes_on = torch.zeros_like(stuck)
    goes_on[:, 1:] = stuck[:, 1:] & stuck[:, :-1] & (steps.index[:, 1:] == steps.index[:, :-1] + 1)
    column = torch.arange(steps.shape[1], device=stuck.device).expand(steps.shape)
    began = torch.where(goes_on, 0, column).cummax(dim=1).values
    weights = torch.where(stuck & (column - began >= config.keep), config.weight, 1.0).float()
    return dict.fromkeys(config.branches, weights)
