"""Routing by outcome: an episode learns from the rewards or from the teacher, never from both.

    SRPO: won episodes from the rewards, lost ones from the teacher            distil = "lost"
    HDPO: only the episodes of tasks that nobody won from the teacher          distil = "hopeless"

A group whose episodes were all lost has no advantage (GRPO's is 0), and there the teacher is all there is. With
"hopeless" the lost episodes of a mixed group keep their negative advantage; with "lost" they are distilled instead and
their advantage is ignored. Episodes that the curriculum cut count as lost.

Proofs: tests/fusions/test_routing.py (each token in exactly one branch, both rules on mixed, won and lost groups).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from agentdistill.learner.fusion import FusionBase
from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginConfig


class SrpoConfig(PluginConfig):
    """The rule.

    Attributes:
        distil: which episodes learn from the teacher: every "lost" one, or those of "hopeless" tasks, all lost.
    """

    distil: Literal["lost", "hopeless"] = "lost"


class Srpo(FusionBase):
    """See `SrpoConfig`."""

    needs = frozenset({"advantage"})

    def __init__(self, config: SrpoConfig) -> None:
        self.config = config

    def weights(self, tokens: TokenStatistics) -> Mapping[str, Tensor] | None:
        """1 in the branch of the episode, 0 in the other."""
        if not len(tokens):
            return None
        taught = ~tokens.success
        if self.config.distil == "hopeless":
            _, place = torch.unique(tokens.group, return_inverse=True)
            any_won = torch.zeros(int(place.max()) + 1, dtype=torch.bool, device=place.device)
            any_won[place[tokens.success]] = True
            taught = ~any_won[place]
        kd = taught.to(tokens.old_logprob.dtype)
        return {"kd": kd, "rl": 1.0 - kd}
