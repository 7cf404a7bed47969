"""The teacher's confidence: its opinion counts as much as it is one.

    w_t = (max_v pi_T(v | prefix))^power

A teacher that spreads its mass over many tokens has no strong view on the one that was sampled, often because the
history is none it would have produced. This is the token half of SAGE-OPD's weight (arXiv 2606.19659), without a judge.
Branch `kd`. Needs `teacher_confidence`. Weights are at most 1, so the loss shrinks where the teacher is unsure;
`optim.weight_norm = "mean1"` keeps its scale, as SAGE does.

Proofs: tests/weights/test_token_methods.py (range, monotone, power 0 is uniform, powers multiply, no gradient).
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from agentdistill.learner.statistics import TokenStatistics, requires
from agentdistill.plugins import PluginConfig


class TeacherConfidenceConfig(PluginConfig):
    """Weights by the teacher's largest probability.

    Attributes:
        power: exponent; above 1 sharpens, 0 is uniform.
    """

    power: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)


@requires("teacher_confidence")
def teacher_confidence(tokens: TokenStatistics, config: TeacherConfidenceConfig) -> Tensor:
    """Weighs tokens by the teacher's largest probability.

    Args:
        tokens: token statistics.
        config: the options.

    Returns:
        float32 [N], in [0, 1]; NaN, which the core refuses, where it is unknown.
    """
    # NaN ** 0 is 1: unknown must not pass for certain.
    return tokens.teacher_confidence**config.power + 0.0 * tokens.teacher_confidence
