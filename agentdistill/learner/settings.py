"""How to optimise: everything the learner needs to know that is not a model or a plugin."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agentdistill.errors import ConfigError

Reduction = Literal["token-mean", "turn-mean", "blend"]
WeightNorm = Literal["none", "mean1"]
OptimizerName = Literal["adamw", "muon"]
Decay = Literal["constant", "linear", "cosine"]


@dataclass(frozen=True, slots=True)
class LearnerSettings:
    """Settings of a `Learner`.

    Attributes:
        lr: peak learning rate.
        steps: optimiser steps of the whole run (the schedule's end).
        warmup: optimiser steps of linear warm-up; the first step already moves, by lr / warmup.
        decay: shape after warm-up.
        final_lr_ratio: learning rate at the end, as a fraction of `lr` (linear and cosine).
        optimizer: "adamw", or "muon" for the hidden matrices with AdamW for embeddings, output layer and vectors.
        muon_ratio: Muon's learning rate as a multiple of `lr`.
        weight_decay: decoupled, on matrices only.
        betas: AdamW's.
        eps: AdamW's.
        grad_clip: largest global gradient norm; 0 turns clipping off.
        batch_tokens: most tokens, padding included, in one forward pass. One longer row goes alone.
        head_chunk: tokens whose vocabulary rows exist at one time.
        bf16: run the decoder under bfloat16 autocast; weights and the loss stay as they are.
        gradient_checkpointing: recompute activations in the backward pass.
        reduction: how per-token values become one number: the mean over tokens, the mean over turns of each
            turn's mean, or the blend `(1 - alpha) * token-mean + alpha * turn-mean` (arXiv 2607.05804).
        alpha: the blend's share of turn-mean, in [0, 1].
        weight_norm: what happens to step x token weights: "none" leaves their scale as the method gives it;
            "mean1" rescales them to a mean of 1 under the reduction.
        imitation: coefficient of the cross-entropy over imitated turns, whose normaliser is its own.
        epochs: how often each batch is gone through.
        minibatches: parts a batch is cut into, by tasks; each makes an optimiser update of its own.
        max_dead_rows: largest share of a batch's rows on which the teacher has no opinion at all; above, the step is
            refused.
        seed: seed of dropout, combined with the step number.
        dump_directory: where a batch with a non-finite loss is written; None is the current directory.
    """

    lr: float = 1e-6
    steps: int = 1
    warmup: int = 0
    decay: Decay = "constant"
    final_lr_ratio: float = 0.0
    optimizer: OptimizerName = "adamw"
    muon_ratio: float = 5.0
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    grad_clip: float = 1.0
    batch_tokens: int = 16384
    head_chunk: int = 64
    bf16: bool = False
    gradient_checkpointing: bool = False
    reduction: Reduction = "token-mean"
    alpha: float = 0.5
    weight_norm: WeightNorm = "none"
    imitation: float = 1.0
    epochs: int = 1
    minibatches: int = 1
    max_dead_rows: float = 0.5
    seed: int = 0
    dump_directory: Path | None = None

    def __post_init__(self) -> None:
        def require(condition: bool, name: str, rule: str) -> None:
            if not condition:
                raise ConfigError(f"The learner's `{name}` is {getattr(self, name)!r}, but it must be {rule}.")

        require(self.lr >= 0, "lr", "at least 0")
        require(self.steps >= 1, "steps", "at least 1")
        require(self.warmup >= 0, "warmup", "at least 0")
        require(0 <= self.final_lr_ratio <= 1, "final_lr_ratio", "between 0 and 1")
        require(self.grad_clip >= 0, "grad_clip", "at least 0")
        require(self.batch_tokens >= 1, "batch_tokens", "at least 1")
        require(self.head_chunk >= 1, "head_chunk", "at least 1")
        require(0 <= self.alpha <= 1, "alpha", "between 0 and 1")
        require(self.imitation >= 0, "imitation", "at least 0")
        require(0 <= self.max_dead_rows <= 1, "max_dead_rows", "between 0 and 1")
        require(self.optimizer in ("adamw", "muon"), "optimizer", "adamw or muon")
        require(self.muon_ratio > 0, "muon_ratio", "above 0")
        require(self.decay in ("constant", "linear", "cosine"), "decay", "constant, linear or cosine")
        require(self.reduction in ("token-mean", "turn-mean", "blend"), "reduction", "token-mean, turn-mean or blend")
        require(self.weight_norm in ("none", "mean1"), "weight_norm", "none or mean1")
