"""TIP (arXiv 2604.14084): train on the tokens where the student is unsure, or sure and wrong.

Each token is scored by a soft OR of the student's entropy and of its divergence from the teacher, and the best half is
trained:

    h_t = minmax(H_S(t)),   d_t = minmax(|log pi_old - log pi_T|),   s_t = h_t + d_t - h_t d_t
    w_t = 1 for the `share` of tokens with the largest s_t, else 0

Branch `kd`. Needs `old_entropy`. Defaults: share 0.5, over the whole batch, entropies clipped at their 98% quantile
before they are normalised (one large entropy would otherwise squeeze all others to 0). A statistic that does not vary
is 0.5 everywhere.

Under a mean over tokens the loss halves with the tokens; `optim.weight_norm = "mean1"` makes it the mean over the
selected ones, as in the paper. Deviations: the divergence is the sampled log-ratio where the paper has a KL over the
vocabulary; the clip is taken from a third party's port, which the released code was not checked against (`clip = 1`
turns it off).

Proofs: tests/weights/test_token_methods.py (how many are kept, in every scope, both regions of the paper are kept,
monotone in either part, ties to the earlier token, flat statistics, a loop over tokens).
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from agentdistill.learner.statistics import TokenStatistics, requires
from agentdistill.plugins import PluginConfig
from agentdistill_token_weights.segments import Scope, segments


class TipConfig(PluginConfig):
    """Selection by entropy or divergence.

    Attributes:
        share: share of the tokens that are trained, rounded up.
        scope: what tokens are ranked in: the "batch", each "episode" or each "response".
        clip: quantile of the batch's entropies that larger ones are cut to.
    """

    share: float = Field(default=0.5, gt=0.0, le=1.0)
    scope: Scope = "batch"
    clip: float = Field(default=0.98, gt=0.0, le=1.0)


@requires("old_entropy")
def tip(tokens: TokenStatistics, config: TipConfig) -> Tensor:
    """Selects tokens of high entropy or high divergence.

    Args:
        tokens: token statistics.
        config: the options.

    Returns:
        float32 [N], 0 or 1; NaN, which the core refuses, where entropies are unknown.
    """
    if not len(tokens):
        return torch.ones(0)
    runs = segments(tokens, config.scope)
    entropy = tokens.old_entropy.double()
    # The smallest value with at least that share of the entropies at or below it: one that occurs, not interpolated.
    ordered = entropy.sort().values
    entropy = entropy.clamp(max=float(ordered[max(0, round(config.clip * len(ordered)) - 1)]))
    h, d = runs.min_max(entropy), runs.min_max(tokens.log_ratio.abs())
    kept = (config.share * runs.size.double()).ceil().long()
    # In this form a score with h or d at 1 is exactly 1, so that equals stay equal.
    selected = runs.ranks(1.0 - (1.0 - h) * (1.0 - d)) < kept[runs.index]
    return torch.where(entropy.isnan(), torch.nan, selected.double()).float()
