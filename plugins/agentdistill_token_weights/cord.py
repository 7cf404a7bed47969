"""CORD's token weight (arXiv 2601.16547): the largest divergences and the early tokens count more.

    w_t   = w_KL w_pos
    w_KL  = alpha if t is among the top_k tokens of its response by divergence, else 1
    w_pos = beta - (beta - 1) (t - 1) / (T - 1)          from beta at the first token to 1 at the last

so w is in [1, alpha beta]. Branch `kd`. Defaults as in the paper: alpha 2, beta 2, top_k 20. The paper compares an
audio model with its own text mode; nothing in the weight depends on that.

Deviations: the divergence of a token is the sampled |log pi_old - log pi_T| where the paper has the KL over the
vocabulary. t and T count the distilled tokens of the response. A response of one token has w_pos = beta. In responses
of at most `top_k` tokens every token is among the largest, which makes w_KL a constant: lower `top_k` for agents that
answer in a few words.

Proofs: tests/weights/test_token_methods.py (range, the ends of w_pos, one token, exactly top_k raised, ties to the
earlier token, responses do not mix, a loop over tokens).
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginConfig
from agentdistill_token_weights.segments import segments


class CordConfig(PluginConfig):
    """Weights by divergence rank and position.

    Attributes:
        alpha: factor of the tokens with the largest divergence.
        beta: factor of the first token; it falls linearly to 1 at the last.
        top_k: how many tokens of a response count as having a large divergence.
    """

    alpha: float = Field(default=2.0, ge=1.0, allow_inf_nan=False)
    beta: float = Field(default=2.0, ge=1.0, allow_inf_nan=False)
    top_k: int = Field(default=20, ge=1)


def cord(tokens: TokenStatistics, config: CordConfig) -> Tensor:
    """Weighs tokens by the rank of their divergence and by their position.

    Args:
        tokens: token statistics.
        config: the options.

    Returns:
        float32 [N], in [1, alpha * beta].
    """
    runs = segments(tokens, "response")
    large = runs.ranks(tokens.log_ratio.abs()) < config.top_k
    done = runs.offset / (runs.size[runs.index] - 1).clamp(min=1)
    return torch.where(large, config.alpha, 1.0) * (config.beta - (config.beta - 1.0) * done)
