"""Trains a starter model from nothing: many small batches, Muon for the matrices, linear decay."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional
from transformers import Qwen3ForCausalLM

from agentdistill_alfworld.starter_training.data import Batch


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to train.

    Attributes:
        steps: optimiser steps that the learning rate decays over.
        stop: optimiser steps really taken; None is all of `steps`.
        matrix_rate: peak learning rate of Muon, for all matrices but the embedding.
        other_rate: peak learning rate of AdamW, for the embedding and the norms.
        warmup: steps of linear warm-up.
        floor: share of the peak rate left at the end of the linear decay.
        clip: largest norm of the gradient.
    """

    steps: int
    stop: int | None = None
    matrix_rate: float = 0.015
    other_rate: float = 3e-3
    warmup: int = 100
    floor: float = 0.05
    clip: float = 1.0


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training run stands.

    Attributes:
        step: optimiser steps taken.
        tokens: tokens read so far, padding not counted.
        targets: tokens learned from so far.
        loss: mean loss of the last 200 steps, nats per target token.
    """

    step: int
    tokens: int
    targets: int
    loss: float


def train(
    model: Qwen3ForCausalLM,
    data: Iterable[Batch],
    schedule: Schedule,
    *,
    report_at: Container[int] = (),
    report: Callable[[Progress], None] | None = None,
) -> Progress:
    """Trains a model in place.

    Args:
        model: the model, float32.
        data: at least as many batches as steps to take.
        schedule: how long and how fast.
        report_at: steps after which to report.
        report: called after those, with the model in eval mode.

    Raises:
        RuntimeError: the data ran out, or the loss is not finite.
    """
    optimisers = _optimisers(model, schedule)
    peaks = [optimiser.param_groups[0]["lr"] for optimiser in optimisers]
    losses: list[float] = []
    tokens = targets = 0
    last = schedule.steps if schedule.stop is None else schedule.stop
    batches: Iterator[Batch] = iter(data)
    model.train()
    for step in range(1, last + 1):
        batch = next(batches, None)
        if batch is None:
            raise RuntimeError(f"the training data ran out after {step - 1} of {last} steps")
        rate = min(1.0, step / schedule.warmup) * (1.0 - (1.0 - schedule.floor) * step / schedule.steps)
        for optimiser, peak in zip(optimisers, peaks, strict=True):
            optimiser.param_groups[0]["lr"] = peak * rate
        loss = imitation_loss(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), schedule.clip, error_if_nonfinite=True)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        losses.append(loss.item())
        tokens += int((batch.ids != 0).sum())
        targets += int(batch.target.sum())
        if report is not None and step in report_at:
            recent = losses[-200:]
            model.eval()
            report(Progress(step, tokens, targets, sum(recent) / len(recent)))
            model.train()
    model.eval()
    recent = losses[-200:]
    return Progress(last, tokens, targets, sum(recent) / len(recent))


def imitation_loss(model: Qwen3ForCausalLM, batch: Batch) -> torch.Tensor:
    """Cross-entropy in nats per target token (a scalar)."""
    states = model.model(input_ids=batch.ids[:, :-1], use_cache=False).last_hidden_state
    wanted = batch.target[:, 1:]
    return functional.cross_entropy(model.lm_head(states[wanted]), batch.ids[:, 1:][wanted])


def _optimisers(model: Qwen3ForCausalLM, schedule: Schedule) -> list[torch.optim.Optimizer]:
    """Muon (momentum with orthogonalised updates) for the matrices, AdamW for the rest."""
    matrices: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (matrices if parameter.ndim == 2 and "embed" not in name else others).append(parameter)
    return [
        torch.optim.Muon(matrices, lr=schedule.matrix_rate, weight_decay=0.01, momentum=0.95),
        torch.optim.AdamW(others, lr=schedule.other_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]
