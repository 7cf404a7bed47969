"""IW-OPD at turn level (arXiv 2606.22600): the turns before the disagreement was spent count more.

What an early turn gets wrong is paid for by all that follow. The weight falls from 1 + gamma to 1 with the share of the
episode's disagreement that lies before the turn:

    P_k = sum over the tokens of turns u < k of |log pi_old - log pi_T|
    w_k = 1 + gamma (1 - P_k / P_K),   P_K over the whole episode

Branch `kd`. The paper weighs the tokens of one answer (the token weight of the same name); this is the port to turns,
with all tokens of a turn at the weight of its beginning. Same defaults: gamma 0.5 (the paper's w_max = 1.5), epsilon
1e-8. An episode without any disagreement has weight 1 + gamma everywhere, as in the paper.

Proofs: tests/weights/test_step_methods.py (the first turn has 1 + gamma, non-increasing, above 1, no disagreement, it
is the token weight over a whole episode at the first token of each turn, a loop over turns).
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from agentdistill.learner.statistics import StepStatistics
from agentdistill.plugins import PluginConfig


class IwOpdConfig(PluginConfig):
    """Weights by the disagreement still to come.

    Attributes:
        gamma: the first turn weighs 1 + gamma, what comes after the last disagreement 1.
        epsilon: smallest divisor, nats.
    """

    gamma: float = Field(default=0.5, ge=0.0, allow_inf_nan=False)
    epsilon: float = Field(default=1e-8, gt=0.0, allow_inf_nan=False)


def iw_opd(steps: StepStatistics, config: IwOpdConfig) -> Tensor:
    """Weighs turns by the share of the episode's disagreement from them on.

    Args:
        steps: step statistics.
        config: the options.

    Returns:
        float32 [trajectories, steps], in [1, 1 + gamma].
    """
    spent = steps.abs_log_ratio.double() * steps.tokens
    before = spent.cumsum(dim=1) - spent
    total = spent.sum(dim=1, keepdim=True).clamp(min=config.epsilon)
    return (1.0 + config.gamma * (1.0 - before / total)).float()
