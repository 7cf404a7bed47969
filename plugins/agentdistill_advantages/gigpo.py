"""GiGPO (arXiv 2505.10978): groups within groups. Where episodes of a task meet, compare what they did.

    A_t = e A^E + omega A^S_t
    A^E:   GRPO over the task's episodes
    A^S_t: R_t = sum_{k >= t} gamma^(k - t) r_k, standardised over all turns of the task's episodes that saw the very
           same observation ("anchor state") as turn t

A turn whose observation nobody else in the group saw has A^S = 0, and so has one where all did equally well. Only
turns that the student played are compared. An observation such as "Nothing happens." is an anchor of many different
states; that is the paper's choice, too.

Defaults: gamma 0.95, omega 1, with std (the paper's F = std; F = 1 is std = false). The released code can also join
observations that are only similar; here they must be equal. `episode` = 0 leaves the step part alone, the action
value that TIDE's fusion allocates by.

Proofs: tests/advantages/test_gigpo.py (singleton anchors give 0, omega = 0 is GRPO, worked groups, a turn that led to
success beats one that did not at the same anchor, groups of different tasks never meet).
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from agentdistill.records import LossRole
from agentdistill.training.rewarded import RewardedBatch
from agentdistill_advantages.groups import GROUPS, GroupConfig, discounted, groups, returns, spread, standardised


class GigpoConfig(GroupConfig):
    """The two levels.

    Attributes:
        gamma: discount of the reward-to-go.
        omega: coefficient of the step advantage.
        episode: coefficient of the episode advantage.
        std: divide by the standard deviation, on both levels.
        epsilon: added to it.
        count_cut: compare episodes that the curriculum cut, too, with the rewards they had by then.
    """

    gamma: float = Field(default=0.95, ge=0.0, le=1.0)
    omega: float = Field(default=1.0, ge=0.0)
    episode: float = Field(default=1.0, ge=0.0)
    std: bool = True
    epsilon: float = Field(default=1e-6, gt=0.0)

    @model_validator(mode="after")
    def _something(self) -> GigpoConfig:
        if self.omega == 0.0 and self.episode == 0.0:
            raise ValueError("omega = 0 and episode = 0 leave no advantage at all")
        return self


def gigpo(batch: RewardedBatch, config: GigpoConfig) -> list[npt.NDArray[np.float32]]:
    """One float32 [steps] for each episode, see the module."""
    total = returns(batch)
    episode = np.zeros_like(total)
    to_go = [discounted(r, config.gamma) for r in batch.rewards]
    result = [np.zeros(len(t.steps)) for t in batch.trajectories]
    for members in groups(batch, config.count_cut):
        episode[members] = standardised(total[members], config.std, config.epsilon)
        anchors: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for i in members:
            for k, step in enumerate(batch.trajectories[i].steps):
                if step.loss_role is LossRole.DISTILL:
                    anchors[step.observation].append((int(i), k))
        for turns in anchors.values():
            values = np.array([to_go[i][k] for i, k in turns])
            for (i, k), a in zip(turns, standardised(values, config.std, config.epsilon), strict=True):
                result[i][k] = config.omega * a
    whole = spread(batch, config.episode * episode)
    return [(a + b).astype(np.float32) for a, b in zip(result, whole, strict=True)]


gigpo.needs = GROUPS  # type: ignore[attr-defined]
