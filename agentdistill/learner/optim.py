"""The optimiser and its schedule, both functions of the step number so that a resumed run is the same run."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from agentdistill.errors import TrainingError
from agentdistill.learner.settings import LearnerSettings


def learning_rate(settings: LearnerSettings, step: int) -> float:
    """The learning rate of a step.

    Args:
        settings: peak, warm-up, decay.
        step: optimiser steps already done, from 0.

    Returns:
        lr * (step + 1) / warmup during warm-up; afterwards lr times the decay, which reaches `final_lr_ratio` at
        the run's last step and stays there.
    """
    if step < settings.warmup:
        return settings.lr * (step + 1) / settings.warmup
    if settings.decay == "constant":
        return settings.lr
    span = max(settings.steps - 1 - settings.warmup, 1)
    progress = min((step - settings.warmup) / span, 1.0)
    left = 1.0 - progress if settings.decay == "linear" else 0.5 * (1.0 + math.cos(math.pi * progress))
    return settings.lr * (settings.final_lr_ratio + (1.0 - settings.final_lr_ratio) * left)


def make_optimizer(model: nn.Module, settings: LearnerSettings) -> torch.optim.AdamW:
    """AdamW over the trainable parameters; vectors (norms, biases) are not decayed.

    Raises:
        TrainingError: nothing in the model is trainable.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    if not trainable:
        raise TrainingError("The student has no trainable parameter.", "", "Unfreeze it, or train an adapter (LoRA).")
    groups = [
        {"params": [p for p in trainable if p.dim() >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trainable if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=settings.lr, betas=settings.betas, eps=settings.eps)


def clip_gradients(parameters: Iterable[nn.Parameter], limit: float) -> float:
    """Clips the global norm and returns what it was before; limit 0 only measures."""
    return float(nn.utils.clip_grad_norm_(list(parameters), limit if limit > 0 else math.inf))
