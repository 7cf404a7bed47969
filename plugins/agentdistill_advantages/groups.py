"""What the advantages share: returns, groups, and episodes of which nothing is known.

An episode that the curriculum cut (`Trajectory.cut`) might have succeeded: its outcome is unknown, not a failure.
It is left out of every comparison and its turns get the advantage 0, unless `count_cut` says that its rewards are
complete as they are (dense rewards of each turn).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from agentdistill.plugins import PluginConfig
from agentdistill.training.rewarded import RewardedBatch

Floats = npt.NDArray[np.float64]
GROUPS = frozenset({"groups"})
"""The `needs` of an advantage that compares the episodes of a task: several of each."""


class GroupConfig(PluginConfig):
    """Options of every advantage that compares episodes.

    Attributes:
        count_cut: compare episodes that the curriculum cut, too, with the rewards they had by then.
    """

    count_cut: bool = False


def returns(batch: RewardedBatch) -> Floats:
    """Total reward of each episode, float64 [B]."""
    return np.array([np.sum(r, dtype=np.float64) for r in batch.rewards], dtype=np.float64)


def known(batch: RewardedBatch, count_cut: bool) -> npt.NDArray[np.bool_]:
    """Episodes whose outcome is known, bool [B]."""
    return np.array([count_cut or not t.cut for t in batch.trajectories], dtype=bool)


def groups(batch: RewardedBatch, count_cut: bool) -> Iterator[npt.NDArray[np.int64]]:
    """Indices of the episodes of each task whose outcome is known, in increasing order; empty groups are left out."""
    usable = known(batch, count_cut)
    for number in np.unique(batch.group):
        members = np.flatnonzero((batch.group == number) & usable)
        if len(members):
            yield members


def flat(values: Floats) -> bool:
    """Whether a group says nothing: one member, or all alike."""
    return len(values) < 2 or float(values.max()) == float(values.min())


def standardised(values: Floats, divide: bool, epsilon: float) -> Floats:
    """Deviations from the mean, in sample standard deviations if asked; exactly 0 for a group that says nothing.

    The mean of equal numbers need not equal them in floating point, and dividing that by almost nothing would make an
    advantage out of rounding: hence the comparison first.
    """
    if flat(values):
        return np.zeros_like(values)
    centred = values - values.mean()
    return centred / (values.std(ddof=1) + epsilon) if divide else centred


def spread(batch: RewardedBatch, values: Sequence[float] | Floats) -> list[npt.NDArray[np.float32]]:
    """Gives every turn of an episode the episode's number."""
    return [np.full(len(t.steps), value, dtype=np.float32) for t, value in zip(batch.trajectories, values, strict=True)]


def discounted(rewards: npt.NDArray[np.float32], gamma: float) -> Floats:
    """R_t = sum_{k >= t} gamma^(k - t) r_k, float64 [steps]."""
    total, result = 0.0, np.zeros(len(rewards), dtype=np.float64)
    for t in range(len(rewards) - 1, -1, -1):
        total = float(rewards[t]) + gamma * total
        result[t] = total
    return result
