"""When a loss is not finite: stop, write the batch down, name the episode."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from agentdistill.errors import TrainingError
from agentdistill.learner.batch import LearnerBatch
from agentdistill.learner.rows import task_name


def dump_batch(batch: LearnerBatch, step: int, directory: Path | None, values: Mapping[str, Tensor]) -> Path:
    """Writes everything needed to look at a bad batch.

    Args:
        batch: the batch.
        step: optimiser steps done.
        directory: where; None is the current directory.
        values: further tensors to keep (per-token losses, coefficients).

    Returns:
        The file, readable with `torch.load(path, weights_only=True)`.
    """
    folder = directory or Path()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"nonfinite-step-{step}.pt"
    content = {
        "step": step,
        "episodes": [task_name(t) for t in batch.trajectories],
        "rows": [
            {"trajectory": ref.trajectory, "row": ref.row, "token_ids": torch.from_numpy(ref.token_ids.copy())}
            for ref in batch.rows
        ],
        "distill": {name: getattr(batch.distill, name) for name in ("row", "position", "trajectory", "turn")},
        "imitate": {name: getattr(batch.imitate, name) for name in ("row", "position", "trajectory", "turn")},
        "old_logprob": batch.tokens.old_logprob,
        "teacher_logprob": batch.tokens.teacher_logprob,
        "values": dict(values),
    }
    torch.save(content, path)
    return path


def non_finite(
    batch: LearnerBatch, step: int, directory: Path | None, values: Mapping[str, Tensor], grad_norm: float | None = None
) -> TrainingError:
    """The error for a loss or gradient that is not finite, after dumping the batch.

    Args:
        batch: the batch.
        step: optimiser steps done.
        directory: where the dump goes.
        values: per-token losses times their coefficients, of the branches "distill" and "imitate".
        grad_norm: the gradient norm, when it is what went wrong.
    """
    path = dump_batch(batch, step, directory, values)
    owners: list[int] = []
    for name, branch in (("distill", batch.distill), ("imitate", batch.imitate)):
        if name in values:
            owners += branch.trajectory[~torch.isfinite(values[name])].tolist()
    if owners:
        first = min(owners)
        what = f"The loss of the episode {task_name(batch.trajectories[first])} is not finite at step {step}."
        others = len(set(owners)) - 1
        why = f"{len(owners)} of its tokens and of {others} other episodes are affected." if others else ""
    else:
        names = ", ".join(task_name(t) for t in batch.trajectories[:3])
        more = ", ..." if len(batch.trajectories) > 3 else ""
        what = f"The gradient norm is {grad_norm} at step {step}, although every token's loss is finite."
        why = f"The batch holds {len(batch.trajectories)} episodes: {names}{more}."
    return TrainingError(
        what, why, f"No weight was changed. The batch is in {path}; lower the learning rate or look at that episode."
    )
