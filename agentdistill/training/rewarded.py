"""Rewards, advantages and filters: what becomes of a batch between the rollout and the learner.

Nothing here knows torch; a reward judges finished episodes, an advantage compares them, a filter leaves turns out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from agentdistill.errors import PluginError
from agentdistill.records import LossRole, TeacherScores, TokenRow, Trajectory

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RewardedBatch:
    """What an advantage sees.

    Attributes:
        trajectories: the episodes, aborted ones removed.
        rewards: float32 [steps] each, the weighted sum of the reward's terms.
        group: int64 [B], the same for all episodes of one task.
    """

    trajectories: Sequence[Trajectory]
    rewards: Sequence[Array]
    group: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ScoredBatch:
    """What a filter sees.

    Attributes:
        trajectories: the episodes, aborted ones removed.
        scores: one `TeacherScores` per row per trajectory; None without a teacher.
        rewards: as in `RewardedBatch`; None without rewards.
        group: int64 [B], the same for all episodes of one task.
        step: optimiser steps done so far.
        members: names of several teachers, as `TeacherScores.source` counts them.
    """

    trajectories: Sequence[Trajectory]
    scores: Sequence[Sequence[TeacherScores]] | None
    rewards: Sequence[Array] | None
    group: npt.NDArray[np.int64]
    step: int
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RewardTerm:
    """One term of the reward.

    Attributes:
        name: how metrics name it; terms of one name are told apart by a number.
        weight: its factor in the sum.
        score: episodes -> one array [steps] each.
        judge: the object behind a class of rewards; what it has as `state_dict` is checkpointed.
    """

    name: str
    weight: float
    score: Callable[[Sequence[Trajectory]], Sequence[Array]]
    judge: Any = None


def total_rewards(
    terms: Sequence[RewardTerm], trajectories: Sequence[Trajectory]
) -> tuple[list[Array], dict[str, float]]:
    """The weighted sum of the terms, and the mean total of each for logs.

    Args:
        terms: at least one.
        trajectories: the episodes.

    Returns:
        float32 [steps] per episode, and metrics `reward/mean`, `reward/std`, `reward/NAME` (unweighted), and
        `reward/NAME/NUMBER` of judges that have numbers of their own (`metrics`).

    Raises:
        PluginError: a term returned something of another shape, or that is not finite.
    """
    total = [np.zeros(len(t.steps), dtype=np.float32) for t in trajectories]
    metrics: dict[str, float] = {}
    for term in terms:
        given = checked(term.score(trajectories), trajectories, f"reward `{term.name}`")
        for sum_, values in zip(total, given, strict=True):
            sum_ += np.float32(term.weight) * values
        metrics[f"reward/{term.name}"] = _mean([float(values.sum()) for values in given])
        own = getattr(term.judge, "metrics", None)
        metrics |= {f"reward/{term.name}/{name}": value for name, value in (own() if own is not None else {}).items()}
    totals = [float(values.sum()) for values in total]
    metrics |= {"reward/mean": _mean(totals), "reward/std": float(np.std(totals)) if totals else 0.0}
    return total, metrics


def advantage_metrics(batch: RewardedBatch, advantages: Sequence[Array]) -> dict[str, float]:
    """Groups in the batch, how many of them teach nothing, and how many episodes nobody knows the outcome of.

    Args:
        batch: the episodes.
        advantages: what was made of them; a group whose advantages are all 0 teaches nothing.
    """
    numbers = np.unique(batch.group)
    silent = np.array([not np.any(values) for values in advantages], dtype=bool)
    flat = sum(bool(silent[batch.group == number].all()) for number in numbers)
    return {
        "advantage/groups": float(len(numbers)),
        "advantage/group_size": float(len(silent) / len(numbers)) if len(numbers) else 0.0,
        "advantage/flat_groups": float(flat) / len(numbers) if len(numbers) else 0.0,
        "advantage/cut": _mean([float(t.cut) for t in batch.trajectories]),
    }


def checked(values: Sequence[Array], trajectories: Sequence[Trajectory], name: str) -> list[Array]:
    """What a plugin returned: one finite number per step of every episode.

    Raises:
        PluginError: it is something else.
    """
    if len(values) != len(trajectories):
        raise PluginError(
            f"The {name} answered for {len(values)} of {len(trajectories)} episodes.", "", "Return one array for each."
        )
    arrays = [np.asarray(value, dtype=np.float32) for value in values]
    for array, trajectory in zip(arrays, trajectories, strict=True):
        if array.shape != (len(trajectory.steps),):
            raise PluginError(
                f"The {name} returned the shape {list(array.shape)} for an episode of {len(trajectory.steps)} steps.",
                f"It is the episode {trajectory.task.env}/{trajectory.task.split}/{trajectory.task.key}.",
                "Return one number per step.",
            )
        if not bool(np.isfinite(array).all()):
            raise PluginError(
                f"The {name} returned a number that is not finite.",
                f"It is the episode {trajectory.task.env}/{trajectory.task.split}/{trajectory.task.key}.",
                "Every step needs a finite number; leave out episodes with a filter, not with NaN.",
            )
    return arrays


def without_turns(trajectory: Trajectory, keep: npt.NDArray[np.bool_]) -> Trajectory:
    """The episode with the role NONE for the turns that a filter left out; the given one is not changed."""
    steps = [
        step if wanted or step.loss_role is LossRole.NONE else replace(step, loss_role=LossRole.NONE)
        for step, wanted in zip(trajectory.steps, keep.tolist(), strict=True)
    ]
    return replace(trajectory, steps=steps, rows=[_copy(row) for row in trajectory.rows])


def _copy(row: TokenRow) -> TokenRow:
    return replace(row, mask=row.mask.copy())


def filtered(
    filters: Mapping[str, Callable[[ScoredBatch], Sequence[npt.NDArray[np.bool_]]]], batch: ScoredBatch
) -> tuple[list[Trajectory], dict[str, float]]:
    """Applies filters in order; each sees what the ones before it left.

    Args:
        filters: by the name that metrics use.
        batch: the episodes.

    Returns:
        The episodes, turns that were left out with the role NONE, and metrics `filter/NAME`: share of the trained turns
        that it left out.

    Raises:
        PluginError: a filter answered in another shape.
    """
    trajectories = list(batch.trajectories)
    metrics: dict[str, float] = {}
    for name, choose in filters.items():
        before = trained_turns(trajectories)
        given = choose(replace(batch, trajectories=trajectories))
        if len(given) != len(trajectories):
            raise PluginError(
                f"The filter `{name}` answered for {len(given)} of {len(trajectories)} episodes.",
                "",
                "Return one bool array [steps] for each.",
            )
        for number, (trajectory, keep) in enumerate(zip(trajectories, given, strict=True)):
            wanted = np.asarray(keep)
            if wanted.dtype != np.bool_ or wanted.shape != (len(trajectory.steps),):
                raise PluginError(
                    f"The filter `{name}` returned {wanted.dtype} {list(wanted.shape)} for an episode of "
                    f"{len(trajectory.steps)} steps.",
                    "",
                    "Return one bool per step: whether the turn may be trained.",
                )
            if not wanted.all():
                trajectories[number] = without_turns(trajectory, wanted)
        after = trained_turns(trajectories)
        metrics[f"filter/{name}"] = 1.0 - after / before if before else 0.0
    return trajectories, metrics


def trained_turns(trajectories: Sequence[Trajectory]) -> int:
    """Turns that may be trained, whoever played them."""
    return sum(step.loss_role is not LossRole.NONE for t in trajectories for step in t.steps)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
