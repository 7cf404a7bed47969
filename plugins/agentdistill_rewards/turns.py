"""What the rewards of this package share: whose turn it was, how an episode ended, and numbers that are numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agentdistill.errors import DataError
from agentdistill.records import LossRole, Step, StopReason, Trajectory

ENDED = frozenset({StopReason.SUCCESS, StopReason.FAILURE, StopReason.ENV_LIMIT, StopReason.CONTEXT_LIMIT})
"""Ends after which the verdict stands. After the others (a curriculum's cut, a dead environment) nothing is known."""

Rewards = npt.NDArray[np.float32]


def nothing(trajectory: Trajectory) -> Rewards:
    """float32 zeros [steps]."""
    return np.zeros(len(trajectory.steps), dtype=np.float32)


def at_the_end(trajectory: Trajectory, value: float) -> Rewards:
    """A value on the last step, 0 everywhere else; float32 [steps]."""
    reward = nothing(trajectory)
    if len(reward):
        reward[-1] = value
    return reward


def own(step: Step) -> bool:
    """Whether the student played this turn and may learn from it."""
    return step.loss_role is LossRole.DISTILL


def first_own(trajectory: Trajectory) -> int:
    """Place of the student's first turn; the number of steps when it had none."""
    return next((place for place, step in enumerate(trajectory.steps) if own(step)), len(trajectory.steps))


def finite(value: float, what: str, trajectory: Trajectory) -> float:
    """The value, when it is a finite number.

    Raises:
        DataError: it is NaN or infinite.
    """
    if not np.isfinite(value):
        raise DataError(
            f"{what} is {value} in an episode of the task {trajectory.task.key!r}.",
            "A reward is made of finite numbers.",
            f"Look at the environment with `agentdistill envs check {trajectory.task.env}`.",
        )
    return float(value)
