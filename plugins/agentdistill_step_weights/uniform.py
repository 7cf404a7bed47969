"""Every step counts the same."""

from __future__ import annotations

import torch
from torch import Tensor

from agentdistill.learner.statistics import StepStatistics
from agentdistill.plugins import PluginConfig


def uniform(steps: StepStatistics, config: PluginConfig) -> Tensor:
    """w_k = 1."""
    return torch.ones(steps.shape)
