"""BRPO, the advantage of AnytimeReasoner (arXiv 2505.13438), with turns as the budget.

An agent that solves the task in five turns is better than one that needs twenty. The episode is scored as if it had
been stopped after b_1 < ... < b_S turns (the reward it had collected by then), with weights w_s that sum to 1. What a
turn of budget s can still influence is the score of that budget and of all larger ones:

    R_s  = sum_{j >= s} w_j score_j
    V1_s = (sum_{j < s} 2^j score_j / sum_{j < s} 2^j) sum_{j >= s} w_j      what the episode's own past promises
    V2_s = mean of R_s over the task's episodes
    A_s  = R_s - [ (s - 1) V1_s + (S - s + 1) V2_s ] / S                     s = 1 ... S

so the baseline moves from the group's mean to the episode's own past as the episode goes on. Turns beyond the last
budget have the advantage 0. With a single budget that no episode exceeds this is R - mean R: GRPO without std.

The paper's budgets are tokens of thinking, sampled anew per prompt and scored by a separate summary policy; here a
stopped episode is scored by its rewards so far. Weights are uniform by default (the paper has linear and base, too).
Defaults: 5, 10, 20 and 30 turns.

Proofs: tests/advantages/test_brpo.py (one budget equals GRPO without std, worked case of three budgets, equal episodes
give 0 at the first budget, a faster win beats a slower one, turns past the last budget, an episode of one turn).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from agentdistill.training.rewarded import RewardedBatch
from agentdistill_advantages.groups import GROUPS, Floats, GroupConfig, groups


class BrpoConfig(GroupConfig):
    """The budgets.

    Attributes:
        budgets: numbers of turns after which an episode is scored, increasing.
        weights: how much each budget counts, as many as budgets; normalised to sum 1. false is uniform.
        count_cut: compare episodes that the curriculum cut, too, with the rewards they had by then.
    """

    budgets: tuple[int, ...] = Field(default=(5, 10, 20, 30), min_length=1)
    weights: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _increasing(self) -> BrpoConfig:
        if self.budgets[0] < 1 or any(a >= b for a, b in pairwise(self.budgets)):
            raise ValueError(f"budgets must be increasing numbers of turns, at least 1; got {list(self.budgets)}")
        if self.weights is not None:
            if len(self.weights) != len(self.budgets):
                raise ValueError(f"there are {len(self.budgets)} budgets but {len(self.weights)} weights")
            if min(self.weights) < 0 or sum(self.weights) == 0:
                raise ValueError("weights must not be negative, and one of them must be positive")
        return self


def brpo(batch: RewardedBatch, config: BrpoConfig) -> list[npt.NDArray[np.float32]]:
    """One float32 [steps] for each episode, see the module."""
    budgets = np.array(config.budgets)
    size = len(budgets)
    weights = np.ones(size) if config.weights is None else np.array(config.weights, dtype=np.float64)
    weights = weights / weights.sum()
    later = np.cumsum(weights[::-1])[::-1]  # sum_{j >= s} w_j
    result = [np.zeros(len(t.steps), dtype=np.float32) for t in batch.trajectories]
    for members in groups(batch, config.count_cut):
        score = np.array([_scores(batch.rewards[i], config.budgets) for i in members])
        reach = np.cumsum((weights * score)[:, ::-1], axis=1)[:, ::-1]
        own = _past(score) * later
        common = np.where(np.ptp(reach, axis=0) == 0, reach[0], reach.mean(axis=0))
        share = np.arange(size) / size
        advantage = reach - (share * own + (1.0 - share) * common)
        for row, i in enumerate(members):
            turns = np.arange(len(batch.trajectories[i].steps))
            slot = np.searchsorted(budgets, turns, side="right")  # turn t is paid from the first budget above t
            inside = slot < size
            result[i][inside] = advantage[row][slot[inside]]
    return result


brpo.needs = GROUPS  # type: ignore[attr-defined]


def _scores(rewards: npt.NDArray[np.float32], budgets: tuple[int, ...]) -> Floats:
    """Reward collected within each budget, [S]."""
    collected = np.concatenate([[0.0], np.cumsum(rewards, dtype=np.float64)])
    return collected[np.minimum(budgets, len(rewards))]


def _past(score: Floats) -> Floats:
    """Mean of the scores at smaller budgets, the nearer the heavier by a factor of 2; 0 before the first. [B, S]."""
    heavy = 2.0 ** np.arange(score.shape[1])
    before = np.cumsum(score * heavy, axis=1) - score * heavy
    return before / np.maximum(np.cumsum(heavy) - heavy, 1.0)
