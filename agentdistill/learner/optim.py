"""The optimiser and its schedule, both functions of the step number so that a resumed run is the same run."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from agentdistill.errors import ConfigError, TrainingError
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


class Optimizers:
    """Several torch optimisers that step as one, with one learning rate and a fixed ratio to it for each group."""

    def __init__(self, members: list[torch.optim.Optimizer]) -> None:
        self.members = members
        self._ratios = [[float(group["lr"]) for group in member.param_groups] for member in members]

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all members."""
        return [group for member in self.members for group in member.param_groups]

    def set_learning_rate(self, lr: float) -> None:
        """Sets every group's learning rate to `lr` times its ratio."""
        for member, ratios in zip(self.members, self._ratios, strict=True):
            for group, ratio in zip(member.param_groups, ratios, strict=True):
                group["lr"] = lr * ratio

    def step(self) -> None:
        """Takes a step with all."""
        for member in self.members:
            member.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops all gradients."""
        for member in self.members:
            member.zero_grad(set_to_none=set_to_none)

    def state_dict(self) -> list[dict[str, Any]]:
        """One state for each member."""
        return [member.state_dict() for member in self.members]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        """Restores `state_dict`."""
        for member, own in zip(self.members, state, strict=True):
            member.load_state_dict(own)


def make_optimizer(model: nn.Module, settings: LearnerSettings) -> Optimizers:
    """AdamW over the trainable parameters, or Muon for the hidden matrices and AdamW for everything else.

    Vectors (norms, biases) are not decayed. Muon orthogonalises a matrix's momentum; embeddings and output layers are
    not its business (Jordan et al. 2024, as `torch.optim.Muon` has it).

    Raises:
        ConfigError: this torch has no Muon.
        TrainingError: nothing in the model is trainable.
    """
    trainable = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if not trainable:
        raise TrainingError("The student has no trainable parameter.", "", "Unfreeze it, or train an adapter (LoRA).")
    members: list[torch.optim.Optimizer] = []
    if settings.optimizer == "muon":
        if not hasattr(torch.optim, "Muon"):
            raise ConfigError(
                'optim.optimizer = "muon" needs a newer torch.',
                f"torch {torch.__version__} has no Muon.",
                'Install torch 2.9 or newer, or use optim.optimizer = "adamw".',
            )
        outer = {id(m.weight) for m in (model.get_input_embeddings(), model.get_output_embeddings()) if m is not None}  # type: ignore[operator]
        hidden = [p for _, p in trainable if p.dim() == 2 and id(p) not in outer]
        if hidden:
            members.append(torch.optim.Muon(hidden, lr=settings.muon_ratio, weight_decay=settings.weight_decay))
        chosen = {id(p) for p in hidden}
        trainable = [(name, p) for name, p in trainable if id(p) not in chosen]
    groups = [
        {"params": [p for _, p in trainable if p.dim() >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for _, p in trainable if p.dim() < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if groups:
        members.append(torch.optim.AdamW(groups, lr=1.0, betas=settings.betas, eps=settings.eps))
    return Optimizers(members)


def clip_gradients(parameters: Iterable[nn.Parameter], limit: float) -> float:
    """Clips the global norm and returns what it was before; limit 0 only measures."""
    return float(nn.utils.clip_grad_norm_(list(parameters), limit if limit > 0 else math.inf))
