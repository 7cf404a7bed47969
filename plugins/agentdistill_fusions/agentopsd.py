"""AgentOPSD's modulation (arXiv 2608.05987): turns count by how much they changed what the teacher believes.

    e_t = sum_j (log pi_T - log pi_old) over the turn
    V_t = V_0 + sum_{u <= t} e_u,   V_0 = logit of the task's success rate
    q_t = V_t - V_{t-1},   z_t = q_t standardised over the turns of the episode
    A_t = A_rl ((1 - lambda) + lambda m_t),   m_t = clip(1 + b sign(A_rl) z_t, 1 - b, 1 + b)

The teacher in the paper is the student itself given privileged information (the hindsight of the episode); any teacher
works, the better the more it knows that the student does not. With values as logits, as the notes we have print them,
V_0 drops out of q; `space = "probability"` takes the differences of sigmoid(V), where it does not: evidence counts most
while the outcome is open. The success rate is moved off 0 and 1 by half an episode for its logit.

The sign is the rewards', always, as b < 1. The teacher's own signal is not added. Episodes of one turn, or without
differences between turns, have z = 0.
Defaults: b 0.2, lambda 0.5 (the paper's).
Proofs: tests/fusions/test_modulation.py (sign preserved, lambda 0 is GRPO, bounds, worked episode, one turn gives 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from agentdistill.learner.fusion import FusionBase, Scales
from agentdistill.learner.progress import LearnerProgress
from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginConfig
from agentdistill_fusions.turns import means, of_episode, totals, turn_of_token


class AgentOpsdConfig(PluginConfig):
    """How far a turn may stretch the rewards' signal.

    Attributes:
        strength: lambda, the share of the factor that is the evidence's.
        bound: b, both slope and bound of the factor.
        space: where values are compared, as "logit" or as "probability".
    """

    strength: float = Field(default=0.5, ge=0.0, le=1.0)
    bound: float = Field(default=0.2, gt=0.0, lt=1.0)
    space: Literal["logit", "probability"] = "logit"


class AgentOpsd(FusionBase):
    """See `AgentOpsdConfig`."""

    needs = frozenset({"advantage"})

    def __init__(self, config: AgentOpsdConfig) -> None:
        self.config = config

    def scales(self, progress: LearnerProgress) -> Scales:
        """The rewards alone."""
        return Scales(kd=0.0, rl=1.0)

    def weights(self, tokens: TokenStatistics) -> Mapping[str, Tensor] | None:
        """The factor of each token."""
        if not len(tokens):
            return None
        turn, owner = turn_of_token(tokens)
        count, episodes = len(owner), int(owner.max()) + 1
        gain = totals(-tokens.log_ratio, turn, count)
        if self.config.space == "probability":
            gain = self._in_probability(gain, owner, tokens)
        mean = means(gain, owner, episodes)[owner]
        deviation = means((gain - mean) ** 2, owner, episodes).sqrt()[owner]
        z = torch.where(deviation < 1e-8, torch.zeros_like(gain), (gain - mean) / deviation.clamp(min=1e-8))
        sign = torch.zeros_like(gain).scatter_(0, turn, tokens.advantage.sign().double())
        bound, strength = self.config.bound, self.config.strength
        factor = (1.0 + bound * sign * z).clamp(1.0 - bound, 1.0 + bound)
        return {"rl": ((1.0 - strength) + strength * factor)[turn].to(tokens.old_logprob.dtype)}

    def _in_probability(self, gain: Tensor, owner: Tensor, tokens: TokenStatistics) -> Tensor:
        """Differences of sigmoid(V), [T]."""
        group, won = of_episode(tokens.group, tokens), of_episode(tokens.success.double(), tokens)
        played = torch.zeros_like(won).scatter_(0, owner, torch.ones_like(gain))
        size = int(group.max()) + 1
        wins, count = totals(won * played, group, size), totals(played, group, size)
        start = torch.logit((wins + 0.5) / (count + 1.0))[group][owner]
        total = gain.cumsum(0)
        first = torch.ones_like(owner, dtype=torch.bool)
        first[1:] = owner[1:] != owner[:-1]
        before = (total - gain)[first][torch.cumsum(first.long(), 0) - 1]  # what earlier episodes summed to
        value = start + total - before
        return torch.sigmoid(value) - torch.sigmoid(value - gain)
