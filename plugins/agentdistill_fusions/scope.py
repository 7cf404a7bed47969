"""SCOPE (arXiv 2604.10688): won episodes from the rewards and lost ones from the teacher, each by what it teaches.

    L = - sum_{won} w_i sum_t r_t  -  sum_{lost} w_i sum_t r_t (log pi_T - log pi_old)
    won:  w = softmax over the task's won episodes  of (- mean log pi_old / tau)     the surprising ones count more
    lost: w = softmax over the task's lost episodes of (  mean log pi_T  / tau)      those the teacher understands

The won half has the advantage 1: use `[advantage] type = "reinforce"` with baseline = "none" and the outcome as reward;
with another advantage the weights and the routing stay the same. Episodes that the curriculum cut count as lost.

Differences of the released code. It weighs won episodes by softmax(+ mean log pi / tau), the familiar ones, against the
paper and its own comment: `student_sign = "released"`. It multiplies the weights by the size of the class, so that
their mean is 1: `scale = "mean"`; the paper's sum to 1. It trains the won half by plain likelihood without the ratio:
choose the surrogate `reinforce`.

Defaults: tau 1, the paper's sign and sum.
Proofs: tests/fusions/test_routing.py (weights sum to 1 or to the class, tau to infinity is uniform, order by perplexity
with both signs, tasks that are all won have no teacher term, no token in both branches, groups of one).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from agentdistill.learner.fusion import FusionBase
from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginConfig
from agentdistill_fusions.turns import extremes, means, of_episode, totals


class ScopeConfig(PluginConfig):
    """The weights.

    Attributes:
        temperature: tau; the larger the more alike the weights.
        student_sign: "paper" prefers won episodes that the student found surprising, "released" the familiar ones.
        scale: weights of a class sum to 1 ("sum") or have the mean 1 ("mean").
    """

    temperature: float = Field(default=1.0, gt=0.0)
    student_sign: Literal["paper", "released"] = "paper"
    scale: Literal["sum", "mean"] = "sum"


class Scope(FusionBase):
    """See `ScopeConfig`."""

    needs = frozenset({"advantage"})

    def __init__(self, config: ScopeConfig) -> None:
        self.config = config

    def weights(self, tokens: TokenStatistics) -> Mapping[str, Tensor] | None:
        """The episode's weight in the branch it belongs to, 0 in the other."""
        if not len(tokens):
            return None
        config, owner = self.config, tokens.trajectory
        episodes = int(owner.max()) + 1
        won, group = of_episode(tokens.success, tokens), of_episode(tokens.group, tokens)
        present = totals(torch.ones_like(tokens.old_logprob), owner, episodes) > 0
        sign = -1.0 if config.student_sign == "paper" else 1.0
        student = sign * means(tokens.old_logprob, owner, episodes)
        score = torch.where(won, student, means(tokens.teacher_logprob, owner, episodes)) / config.temperature
        kind = group * 2 + won  # a class: task and outcome
        weight = torch.zeros_like(score)
        weight[present] = _softmax(score[present], kind[present], config.scale == "mean")
        weight = weight.to(tokens.old_logprob.dtype)[owner]
        return {"kd": weight * ~tokens.success, "rl": weight * tokens.success}


def _softmax(score: Tensor, kind: Tensor, mean_one: bool) -> Tensor:
    """Softmax of the scores within each class, times the size of the class if asked, float64."""
    size = int(kind.max()) + 1
    _, high = extremes(score, kind, size)
    share = torch.exp(score - high[kind])
    weight = share / totals(share, kind, size)[kind]
    return weight * totals(torch.ones_like(share), kind, size)[kind] if mean_one else weight
