"""Prune-OPD's drift weight (arXiv 2605.07804): every token where the teacher is lost makes the later ones count less.

Student and teacher still talk about the same thing while their most likely tokens overlap. The weight falls with the
number of tokens so far, this one included, at which they do not:

    O_t = |top-k_S and top-k_T| / k
    C_t = number of tokens u <= t of the response with O_u < threshold
    w_t = clip(1 - penalty C_t, 0, 1) + floor

Branch `kd`. Needs `overlap` (k = 16). Defaults: the paper's, threshold 0.7, penalty 0.01, floor 0.5.

The paper has long answers to one prompt; here an answer is a turn's response, and `scope = "episode"` counts through
all turns. The step weight of the same name counts turns. Left out: the paper's other test for a bad token (outside the
teacher's top-p 0.95) and its control of the rollout length, which is a curriculum's business.

Proofs: tests/weights/test_token_methods.py (non-increasing, range, the count, unknown overlap is never taken for
agreement, responses do not mix, a loop over tokens).
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from agentdistill.learner.statistics import TokenStatistics, requires
from agentdistill.plugins import PluginConfig
from agentdistill_token_weights.segments import segments


class PruneConfig(PluginConfig):
    """Weights by the number of tokens at which the teacher was lost.

    Attributes:
        threshold: a token with less overlap than this is a bad one.
        penalty: what a bad token takes from its own weight and all later ones.
        floor: added to the remaining reliability, so that it is also the smallest weight.
        scope: what bad tokens are counted in, a "response" or an "episode".
    """

    threshold: float = Field(default=0.7, ge=0.0, le=1.0)
    penalty: float = Field(default=0.01, ge=0.0, allow_inf_nan=False)
    floor: float = Field(default=0.5, ge=0.0, allow_inf_nan=False)
    scope: Literal["response", "episode"] = "response"


@requires("overlap")
def prune(tokens: TokenStatistics, config: PruneConfig) -> Tensor:
    """Weighs tokens by how many have lost the teacher so far.

    Args:
        tokens: token statistics.
        config: the options.

    Returns:
        float32 [N], in [floor, 1 + floor]; NaN, which the core refuses, where the overlap is unknown.
    """
    bad = (tokens.overlap < config.threshold).double()
    count = segments(tokens, config.scope).before(bad) + bad
    reliability = (1.0 - config.penalty * count).clamp(0.0, 1.0)
    return torch.where(tokens.overlap.isnan(), torch.nan, reliability + config.floor).float()
