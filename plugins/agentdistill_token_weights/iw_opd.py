"""IW-OPD (arXiv 2606.22600): the tokens before the disagreement was spent count more.

Student and teacher disagree mostly where a response takes its course; what follows is written under a prefix the
teacher would not have chosen. The weight falls from 1 + gamma to 1 with the share of the disagreement that lies before
the token:

    P_t = sum over u < t of |log pi_old(u) - log pi_T(u)|
    w_t = 1 + gamma (1 - P_t / max(P_T, eps)),   P_T over the whole response

Branch `kd`. Defaults: gamma 0.5 (the paper's w_max = 1 + gamma = 1.5), eps 1e-8. TRL's `IWOPDTrainer` (1.16) computes
the same numbers for one answer to one prompt; compared in `scripts/check_weights_against_trl.py`.

An answer to a prompt is here a turn's response. `scope = "episode"` lets the disagreement run through all turns.

Proofs: tests/weights/test_token_methods.py (the first token has 1 + gamma, non-increasing, no disagreement gives 1 +
gamma everywhere, gamma 0 is uniform, scale of the disagreement drops out, TRL's formula, a loop over tokens).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginConfig
from agentdistill_token_weights.segments import segments


class IwOpdConfig(PluginConfig):
    """Weights by the disagreement still to come.

    Attributes:
        gamma: the first token weighs 1 + gamma, what comes after the last disagreement 1.
        epsilon: smallest divisor, nats.
        scope: what the disagreement is summed over, a "response" (the paper) or an "episode".
    """

    gamma: float = Field(default=0.5, ge=0.0, allow_inf_nan=False)
    epsilon: float = Field(default=1e-8, gt=0.0, allow_inf_nan=False)
    scope: Literal["response", "episode"] = "response"


def iw_opd(tokens: TokenStatistics, config: IwOpdConfig) -> Tensor:
    """Weighs tokens by the share of the disagreement from them on.

    Args:
        tokens: token statistics.
        config: the options.

    Returns:
        float32 [N], in [1, 1 + gamma].
    """
    size = tokens.log_ratio.abs()
    runs = segments(tokens, config.scope)
    total = runs.total(size).clamp(min=config.epsilon)[runs.index]
    # Sums of the whole batch are subtracted from each other, so a share may miss 1 by a rounding error.
    share = (runs.before(size) / total).clamp(0.0, 1.0)
    return (1.0 + config.gamma * (1.0 - share)).float()
