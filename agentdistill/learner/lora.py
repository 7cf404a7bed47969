"""Low-rank adapters through peft."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from agentdistill.errors import ConfigError, import_extra


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """A LoRA adapter.

    Attributes:
        rank: rank of the update.
        alpha: scale, the update is multiplied by alpha / rank; None is 2 * rank.
        dropout: dropout on the adapter's input; on-policy methods want 0.
        targets: module names, or "all-linear" (every linear layer but the output layer).
        seed: seed of the adapter's initial weights.
    """

    rank: int = 32
    alpha: float | None = None
    dropout: float = 0.0
    targets: str | tuple[str, ...] = "all-linear"
    seed: int = 0


def add_lora(model: nn.Module, settings: LoraSettings) -> Any:
    """Wraps a model so that only a LoRA adapter is trained.

    Args:
        model: a `transformers` causal language model; it is changed in place.
        settings: the adapter.

    Returns:
        The `peft` model. Its logits equal the original's until the first optimiser step.

    Raises:
        MissingExtraError: peft is not installed.
        ConfigError: the settings fit no layer.
    """
    peft = import_extra("peft", "lora", "A LoRA adapter")
    targets = settings.targets if isinstance(settings.targets, str) else list(settings.targets)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            return peft.get_peft_model(
                model,
                peft.LoraConfig(
                    r=settings.rank,
                    lora_alpha=2 * settings.rank if settings.alpha is None else settings.alpha,
                    lora_dropout=settings.dropout,
                    target_modules=targets,
                    task_type="CAUSAL_LM",
                ),
            )
    except ValueError as error:
        raise ConfigError("The LoRA adapter does not fit the student.", str(error), "Check `lora.targets`.") from error
