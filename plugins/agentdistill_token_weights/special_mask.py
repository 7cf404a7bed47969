"""Leaves out special tokens, on which teachers of another family teach nothing but their habits.

    w_t = weight for special tokens of the tokenizer, terminators and the ids in `also`, else 1

Two chat models may agree on what to say and not on how to end it. Masking special tokens took sampled-token
distillation from 36.4 to 40.7 on average in "Revisiting On-Policy Distillation" (LSM, arXiv 2603.25562); SimpleOPD
(arXiv 2608.14277) masks `</think>` and `<|im_end|>` across families. Branch `kd`.

With teacher and student of one family there is no reason to: a student that is never told when to stop may forget it.
Markers that are ordinary tokens in a tokenizer (`</think>` in some) have to be given in `also`.

Proofs: tests/weights/test_token_methods.py (exactly the special tokens and the given ids, a weight between, the other
tokens untouched).
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from agentdistill.learner.statistics import TokenRole, TokenStatistics, requires
from agentdistill.plugins import PluginConfig


class SpecialMaskConfig(PluginConfig):
    """Selection against special tokens.

    Attributes:
        weight: what they weigh.
        also: more token ids that are treated as special.
    """

    weight: float = Field(default=0.0, ge=0.0, le=1.0)
    also: tuple[int, ...] = ()


@requires("role")
def special_mask(tokens: TokenStatistics, config: SpecialMaskConfig) -> Tensor:
    """Weighs special tokens less.

    Args:
        tokens: token statistics.
        config: the options.

    Returns:
        float32 [N], `weight` or 1.
    """
    special = tokens.role == TokenRole.SPECIAL
    if config.also:
        special = special | torch.isin(tokens.token_id, torch.tensor(config.also, device=tokens.token_id.device))
    return torch.where(special, config.weight, 1.0)
