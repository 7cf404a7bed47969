"""TSD-KD's token weight (arXiv 2603.13260): distil where the student is less sure than the teacher.

    w_t = sigmoid(H_S(t) - H_T(t)),   detached

0.5 where both are equally sure, towards 1 where the student is at a loss and the teacher is not, towards 0 where the
teacher has nothing to say. It is the weight of the paper's direct loss, a generalised JSD with beta 0.9; the other
parts of TSD-KD are losses. Branch `kd`. Needs `old_entropy` and `teacher_entropy`.

The entropies are those of the policies at temperature 1; the student's is the one the tokens were sampled under. The
released code recomputes it in every pass, which is the same for on-policy batches.

Proofs: tests/weights/test_token_methods.py (0.5 for equal entropies, range, monotone in both, complementary under
exchange, no gradient).
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from agentdistill.learner.statistics import TokenStatistics, requires
from agentdistill.plugins import PluginConfig


class TsdKdConfig(PluginConfig):
    """Weights by the difference of the entropies.

    Attributes:
        scale: factor of the difference, 1/nats (the paper's 1); 0 weighs every token 0.5.
    """

    scale: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)


@requires("old_entropy", "teacher_entropy")
def tsd_kd(tokens: TokenStatistics, config: TsdKdConfig) -> Tensor:
    """Weighs tokens by the sigmoid of the entropy difference.

    Args:
        tokens: token statistics.
        config: the options.

    Returns:
        float32 [N], in (0, 1); NaN, which the core refuses, where an entropy is unknown.
    """
    return torch.sigmoid(config.scale * (tokens.old_entropy - tokens.teacher_entropy))
