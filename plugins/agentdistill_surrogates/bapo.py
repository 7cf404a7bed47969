"""BAPO's adaptive bounds (arXiv 2510.18927): gains must supply a share of the update, or the bounds move.

On stale data negative advantages dominate: the updates mostly push down, and entropy goes with it. Per batch the clip
interval [low, high] is widened at the top until tokens with positive advantage supply a share rho_0 of the mass, and
where that is not enough the lower bound is raised, which takes falling tokens out:

    share = sum_{A > 0} m / sum m,   m = r |A| of the tokens that the interval leaves a gradient
    while share < rho_0:  high += 0.05 up to 3.0,  then  low += 0.02 up to 0.9       (Algorithm 1)

The loss is PPO's with these bounds. The search ends at the first interval that meets the target or at both limits.

Distillation advantages are mostly negative (the student sampled what it liked), so this is of use there, too. With one
update from an on-policy batch every ratio is 1 and no bound binds, whatever the search decides: it takes `optim.epochs`
or `optim.minibatches` above 1. From the second update on, the search sees the ratios of the student as it is then.

Deviations. (a) The paper's mass is the value of the clipped term, weighted by the rollout probability; that value
*grows* for negative tokens as the lower bound rises, so its search can move away from its target. Ours counts r |A| of
tokens that still have a gradient, which is monotone in both bounds; `mass = "value"` has the clipped value, unweighted,
as the released code has. (b) The released code raises the lower bound first and asks for a positive-to-negative ratio
of 1 (a share of 0.5), with other limits: `order = "low-first"`.

Proofs: tests/surrogates/test_bapo.py (ends, target met or limits reached, monotone, never moves more than needed).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginConfig
from agentdistill_surrogates.ratio import Stateless, clipped, importance_ratio


class BapoConfig(PluginConfig):
    """The target and the room for the bounds.

    Attributes:
        target: share of the mass that positive advantages should supply.
        low: initial lower bound of the ratio.
        low_limit: the lower bound never exceeds this.
        low_step: what it rises by.
        high: initial upper bound of the ratio.
        high_limit: the upper bound never exceeds this.
        high_step: what it rises by.
        order: which bound moves first; "high-first" is the paper's.
        mass: "gradient" counts tokens that still have a gradient, "value" the clipped terms of all.
        dual_clip: bound of the loss for negative advantages, in multiples of |A|; false for none.
    """

    target: float = Field(default=0.4, gt=0.0, lt=1.0)
    low: float = Field(default=0.6, gt=0.0, le=1.0)
    low_limit: float = Field(default=0.9, gt=0.0, le=1.0)
    low_step: float = Field(default=0.02, gt=0.0)
    high: float = Field(default=1.2, ge=1.0)
    high_limit: float = Field(default=3.0, ge=1.0)
    high_step: float = Field(default=0.05, gt=0.0)
    order: Literal["high-first", "low-first"] = "high-first"
    mass: Literal["gradient", "value"] = "gradient"
    dual_clip: float | None = Field(default=3.0, gt=1.0)

    @model_validator(mode="after")
    def _room(self) -> BapoConfig:
        if self.low_limit < self.low or self.high_limit < self.high:
            raise ValueError("the bounds only rise: low_limit must be at least low, and high_limit at least high")
        return self


@dataclass(frozen=True, slots=True)
class Bounds:
    """An interval of the ratio, and the share that positive advantages have in it."""

    low: float
    high: float
    share: float


def positive_share(ratio: Tensor, advantage: Tensor, low: float, high: float, mass: str = "gradient") -> float:
    """Share of the mass that tokens of positive advantage supply, see the module.

    Where nothing has any mass it is 1, unless there are gains that the interval keeps out: then it is 0.
    """
    ratio, size = ratio.double(), advantage.double().abs()
    gain = advantage > 0
    if mass == "gradient":
        live = torch.where(gain, ratio <= high, ratio >= low)
        weight = ratio * size * live
    else:
        weight = size * torch.where(gain, ratio.clamp(max=high), ratio.clamp(min=low))
    total = float(weight.sum())
    return float((weight * gain).sum()) / total if total > 0 else float(not bool(gain.any()))


def find_bounds(ratio: Tensor, advantage: Tensor, config: BapoConfig) -> Bounds:
    """The first interval of the search that meets the target, or the limits.

    Args:
        ratio: float [N], pi / pi_old.
        advantage: float [N].
        config: the search.
    """
    lows = _rungs(config.low, config.low_limit, config.low_step)
    highs = _rungs(config.high, config.high_limit, config.high_step)
    if config.order == "high-first":
        path = [(lows[0], high) for high in highs] + [(low, highs[-1]) for low in lows[1:]]
    else:
        path = [(low, highs[0]) for low in lows] + [(lows[-1], high) for high in highs[1:]]
    for low, high in path:
        share = positive_share(ratio, advantage, low, high, config.mass)
        if share >= config.target:
            break
    return Bounds(low, high, share)


def _rungs(start: float, limit: float, step: float) -> list[float]:
    """start, start + step, ... and the limit itself; counted, not accumulated, so that rounding adds no rung."""
    count = math.ceil((limit - start) / step - 1e-9)
    return [start + i * step for i in range(count)] + [limit]


class Bapo(Stateless):
    """See `BapoConfig`. `bounds` are those of the batch it was prepared for, at first the initial ones."""

    looks_ahead = True

    def __init__(self, config: BapoConfig, bounds: Bounds | None = None) -> None:
        self.config = config
        self.bounds = bounds or Bounds(config.low, config.high, float("nan"))

    def prepare(self, tokens: TokenStatistics, advantage: Tensor, logprob: Tensor | None = None) -> Bapo:
        """Finds the bounds of a batch.

        Args:
            tokens: all N tokens.
            advantage: float [N].
            logprob: float [N], log-probability under the policy being trained; None stands for the behaviour policy's.
        """
        current = tokens.old_logprob if logprob is None else logprob.detach()
        ratio = importance_ratio(current, tokens.old_logprob)
        return Bapo(self.config, find_bounds(ratio, advantage.detach(), self.config))

    def values(self, logprob: Tensor, tokens: TokenStatistics, advantage: Tensor) -> Tensor:
        """The clipped loss of each token, [n]."""
        ratio = importance_ratio(logprob, tokens.old_logprob)
        return clipped(ratio, advantage, self.bounds.low, self.bounds.high, self.config.dual_clip)
