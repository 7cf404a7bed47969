"""Step-wise on-policy distillation (arXiv 2605.07725): trust the teacher less where the student has drifted.

A failed step changes the context and the divergence jumps; far from the states the teacher knows, its opinion on the
student's tokens is noise. The weight of a step is the ratio of the first step's divergence to its own, so it falls
while the student is off and recovers when the student does.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from agentdistill.learner.statistics import StepStatistics
from agentdistill.plugins import PluginConfig


class SodConfig(PluginConfig):
    """Weights by the divergence relative to the first step.

    Attributes:
        delta: weights are capped at 1 + delta (the paper's 0.2; its released dataclass says 0.5).
        epsilon: added to both divergences, nats (the paper's 1e-6).
        first_floor: lower bound of the first step's divergence, nats. 0 is the paper's formula, under which a first
            step of almost no divergence switches every later step off.
    """

    delta: float = Field(default=0.2, ge=0.0)
    epsilon: float = Field(default=1e-6, gt=0.0)
    first_floor: float = Field(default=0.0, ge=0.0)


def sod(steps: StepStatistics, config: SodConfig) -> Tensor:
    """w_1 = 1, w_k = min((d_1 + eps) / (d_k + eps), 1 + delta) with d_k = mean |log pi_old - log pi_T| (Eq. 6, 7).

    The paper's product of successive ratios telescopes to this; only the emitted weight is capped, never the product.
    The first step is the trajectory's first trained one. Nothing is renormalised: a drifting batch learns less.
    """
    divergence = steps.abs_log_ratio.double()
    first = divergence[:, :1].clamp(min=config.first_floor)
    weights = ((first + config.epsilon) / (divergence + config.epsilon)).clamp(max=1.0 + config.delta)
    weights[:, 0] = 1.0
    return weights.to(torch.float32)
