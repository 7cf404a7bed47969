"""Sections of a recipe as the settings of the rooms that act on them."""

from __future__ import annotations

from pathlib import Path

from agentdistill.config.schema import RunConfig
from agentdistill.errors import ConfigError
from agentdistill.learner.settings import LearnerSettings


def learner_settings(config: RunConfig, dump_directory: Path | None) -> LearnerSettings:
    """The learner's settings.

    Raises:
        ConfigError: a batch has fewer tasks than minibatches.
    """
    optim = config.optim
    if optim.minibatches > config.rollout.tasks_per_step:
        raise ConfigError(
            f"A batch of {config.rollout.tasks_per_step} tasks has no {optim.minibatches} minibatches.",
            "Episodes of one task stay together, and no part may be empty.",
            "Raise `rollout.tasks_per_step`, or lower `optim.minibatches`.",
        )
    return LearnerSettings(
        lr=optim.lr,
        steps=optim.steps,
        warmup=optim.warmup,
        decay=optim.schedule,
        final_lr_ratio=optim.final_lr_ratio,
        optimizer=optim.optimizer,
        muon_ratio=optim.muon_ratio,
        weight_decay=optim.weight_decay,
        betas=optim.betas,
        eps=optim.eps,
        grad_clip=optim.grad_clip or 0.0,
        batch_tokens=optim.micro_batch_tokens,
        bf16=optim.bf16,
        gradient_checkpointing=optim.gradient_checkpointing,
        reduction=optim.reduction,
        alpha=optim.blend,
        weight_norm=optim.weight_norm,
        imitation=optim.imitation,
        epochs=optim.epochs,
        minibatches=optim.minibatches,
        max_dead_rows=optim.max_dead_rows,
        seed=config.run.seed,
        dump_directory=dump_directory,
    )
