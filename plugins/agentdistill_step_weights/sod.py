"""SOD, step-wise on-policy distillation (arXiv 2605.07725): trust the teacher less where the student has drifted.

A failed step changes the context and the divergence jumps; far from the states the teacher knows, its opinion on the
student's tokens is noise. The weight of a step is the ratio of the first step's divergence to its own, so it falls
while the student is off and recovers when the student does:

    d_k = mean over the turn's tokens of |log pi_old - log pi_T|                      (Eq. 6)
    w_1 = 1,  w_k = min(prod_{u<k} (d_u + eps) / (d_{u+1} + eps), 1 + delta)          (Eq. 7)

The product telescopes to (d_1 + eps) / (d_k + eps), which is what is computed; the cap is on the emitted weight, never
on the product. Branch `kd`.

Variants by options: `first_floor` bounds d_1 from below, because a first step of almost no divergence switches every
later step off; `optim.weight_norm = "mean1"` gives mean-1 weights (the paper renormalises nothing, so a drifting batch
learns less). OG-OPD's base moderation, min(1.2, exp(nu_first - nu_k)) with nu = log(eps0 + d), is the same weight with
`epsilon` = eps0.

Against the released code: its dataclass has delta 0.5 where paper and scripts have 0.2; it cuts turns by runs of the
loss mask, so an empty observation merges two turns, while turns here have explicit ids; it goes on without distilling
when teacher scores are missing, here that is an error.

Proofs: tests/weights/test_sod.py, test_step_methods.py (the telescoping identity against the explicit product,
independence of path and scale, uniform divergence gives 1, the cap, delta 0, the worked case (.218, 1.284) -> .1698,
OG-OPD's formula, no gradient).
"""

from __future__ import annotations

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

    delta: float = Field(default=0.2, ge=0.0, allow_inf_nan=False)
    epsilon: float = Field(default=1e-6, gt=0.0, allow_inf_nan=False)
    first_floor: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)


def sod(steps: StepStatistics, config: SodConfig) -> Tensor:
    """Weighs turns by the first turn's divergence over their own.

    The first step is the trajectory's first trained one.

    Args:
        steps: step statistics.
        config: the options.

    Returns:
        float32 [trajectories, steps], in (0, 1 + delta].
    """
    divergence = steps.abs_log_ratio.double()
    first = divergence[:, :1].clamp(min=config.first_floor)
    weights = ((first + config.epsilon) / (divergence + config.epsilon)).clamp(max=1.0 + config.delta)
    weights[:, 0] = 1.0
    return weights.float()
