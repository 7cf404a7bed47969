"""The student as the run began: what it would say now of the tokens that the student of today wrote."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from agentdistill.records import ScoreRequest, Trajectory

if TYPE_CHECKING:
    from agentdistill.models import LoadedModel


def reference_scorer(
    student: LoadedModel, batch_tokens: int
) -> Callable[[Sequence[Trajectory]], list[list[npt.NDArray[np.float32]]]]:
    """Freezes the student as it is; call it before the first optimiser step.

    With adapters nothing is copied: the model without them is the student as it began.

    Args:
        student: the student, untrained by this run.
        batch_tokens: most tokens of one forward pass.

    Returns:
        Episodes -> float32 [T] per row, NaN where nobody wrote.
    """
    from agentdistill.learner.heads import split_model
    from agentdistill.teachers.scoring import score_rows

    without_adapters = getattr(student.model, "disable_adapter", None)
    model = student.model if without_adapters is not None else copy.deepcopy(student.model).requires_grad_(False)
    parts = split_model(model)

    def score(trajectories: Sequence[Trajectory]) -> list[list[npt.NDArray[np.float32]]]:
        rows = [row for trajectory in trajectories for row in trajectory.rows]
        with without_adapters() if without_adapters is not None else nullcontext():
            scores = iter(score_rows(parts, rows, ScoreRequest(), batch_tokens=batch_tokens))
        return [[next(scores).sampled_logprob for _ in trajectory.rows] for trajectory in trajectories]

    return score
