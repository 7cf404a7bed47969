"""Every token counts the same."""

from __future__ import annotations

import torch
from torch import Tensor

from agentdistill.learner.statistics import TokenStatistics
from agentdistill.plugins import PluginConfig


def uniform(tokens: TokenStatistics, config: PluginConfig) -> Tensor:
    """w_t = 1."""
    return torch.ones(len(tokens))
