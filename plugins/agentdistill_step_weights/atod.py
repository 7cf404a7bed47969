"""ATOD's T-DUR weight (arXiv 2606.27814): teach where the student drifts from the teacher or doubts itself.

Per trajectory, two turn statistics are min-max normalised and joined by a soft OR:

    d_k = mean over the turn's tokens of |log pi_old - log pi_T|      (disagreement)
    h_k = mean over the turn's tokens of -log pi_old                  (uncertainty, from the sampled tokens)
    w_k = 1 - (1 - d~_k)(1 - h~_k),   x~ = (x - min) / (max - min),   x~ = 0.5 where max - min < 1e-8

so w is in [0, 1], at least as large as either part, and 0.75 where both are flat (also for a trajectory of one turn).
It multiplies the distillation term only: branch `kd`. ATOD's other half, the schedules of both terms (kappa from 1 to
0.1, rho from 1 to 2), is a matter of `[fusion]`.

There was no released code to compare with. The paper's ablation finds turn-level weights better than token-level ones,
and uncertainty alone worse than both together.

Proofs: tests/weights/test_step_methods.py (range, soft OR at least the larger part, flat gives .75, invariance under
affine maps of either statistic, the extremes, a loop over turns).
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from agentdistill.learner.statistics import StepStatistics
from agentdistill.plugins import PluginConfig


class AtodConfig(PluginConfig):
    """Weights by disagreement or uncertainty.

    Attributes:
        flat_range: a trajectory whose statistic varies by less than this, nats, has no order to go by.
        flat_value: normalised value of every turn of such a trajectory, in [0, 1].
    """

    flat_range: float = Field(default=1e-8, gt=0.0, allow_inf_nan=False)
    flat_value: float = Field(default=0.5, ge=0.0, le=1.0)


def atod(steps: StepStatistics, config: AtodConfig) -> Tensor:
    """Weighs turns by a soft OR of disagreement and uncertainty.

    Args:
        steps: step statistics.
        config: the options.

    Returns:
        float32 [trajectories, steps], in [0, 1].
    """
    drift = _min_max(steps.abs_log_ratio.double(), steps.mask, config)
    doubt = _min_max(-steps.old_logprob.double(), steps.mask, config)
    return (1.0 - (1.0 - drift) * (1.0 - doubt)).float()


def _min_max(values: Tensor, mask: Tensor, config: AtodConfig) -> Tensor:
    """Normalised over the real turns of each trajectory; NaN values stay NaN, for the core to refuse."""
    low = values.masked_fill(~mask, torch.inf).amin(dim=1, keepdim=True)
    span = values.masked_fill(~mask, -torch.inf).amax(dim=1, keepdim=True) - low
    flat = torch.full_like(values, config.flat_value)
    return torch.where(span < config.flat_range, flat, (values - low) / span.clamp(min=config.flat_range))
