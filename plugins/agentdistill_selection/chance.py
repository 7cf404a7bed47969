"""Selection by lot: the control that every other selection has to beat.

    score = a number in [0, 1) drawn for (seed, task, sample)

The draw depends on nothing else, so the same episode has the same number in any store and any order.
Proofs: tests/selection/test_methods.py.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from agentdistill.plugins import PluginConfig
from agentdistill.training.selection import Candidate, Worth


class ChanceConfig(PluginConfig):
    """The lot.

    Attributes:
        seed: another one is another lot.
    """

    seed: int = 0


def chance(candidates: Sequence[Candidate], config: ChanceConfig) -> list[Worth]:
    """A number for each episode. No model is asked."""

    def draw(candidate: Candidate) -> float:
        t = candidate.trajectory
        name = [config.seed, t.task.env, t.task.split, t.task.key, t.sample, t.seed]
        return random.Random(":".join(map(str, name))).random()

    return [Worth(draw(candidate)) for candidate in candidates]
