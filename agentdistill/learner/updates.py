"""Several optimiser updates from one batch: which episodes each takes, and one set of metrics for all."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from agentdistill.hashing import digest
from agentdistill.learner.facts import BatchExtras, task_groups
from agentdistill.learner.settings import LearnerSettings
from agentdistill.records import LossRole, TeacherScores, Trajectory

Part = tuple[Sequence[Trajectory], Sequence[Sequence[TeacherScores]] | None, BatchExtras | None]

_ADDED = ("tokens/", "rows/", "turns/", "turn/", "episodes/", "batch/passes")


def updates(
    trajectories: Sequence[Trajectory],
    scores: Sequence[Sequence[TeacherScores]] | None,
    extras: BatchExtras | None,
    settings: LearnerSettings,
    step: int,
) -> list[Part]:
    """Cuts a batch into the parts of its updates, in order.

    Episodes of one task stay together, because groups are compared with one another. Which tasks go together is drawn
    anew in each epoch, from the seed and the step alone.

    Args:
        trajectories: the batch.
        scores: parallel to it, or None.
        extras: parallel to it, or None.
        settings: `epochs` and `minibatches`; of fewer tasks than minibatches, each is one.
        step: optimiser steps done.

    Returns:
        `epochs` x `minibatches` parts, without those in which filters left no turn; with one of each, the batch itself.
    """
    if settings.minibatches == 1:
        return [(trajectories, scores, extras)] * settings.epochs
    groups = task_groups(trajectories)
    count = int(groups.max()) + 1 if len(groups) else 1
    parts: list[Part] = []
    for epoch in range(settings.epochs):
        seed = int(digest(["minibatches", settings.seed, step, epoch])[:15], 16)
        order = np.random.default_rng(seed).permutation(count)
        for some in np.array_split(order, min(settings.minibatches, count)):
            chosen = np.flatnonzero(np.isin(groups, some)).tolist()
            parts.append(_select(trajectories, scores, extras, chosen))
    return [part for part in parts if _taught(part[0])] or [(trajectories, scores, extras)]


def _taught(trajectories: Sequence[Trajectory]) -> bool:
    return any(step.row >= 0 and step.loss_role is not LossRole.NONE for t in trajectories for step in t.steps)


def _select(
    trajectories: Sequence[Trajectory],
    scores: Sequence[Sequence[TeacherScores]] | None,
    extras: BatchExtras | None,
    chosen: Sequence[int],
) -> Part:
    if extras is not None:
        columns = {field.name: getattr(extras, field.name) for field in dataclasses.fields(extras)}
        extras = BatchExtras(**{name: None if c is None else [c[i] for i in chosen] for name, c in columns.items()})
    return [trajectories[i] for i in chosen], None if scores is None else [scores[i] for i in chosen], extras


def joined(metrics: Sequence[Mapping[str, float]], epochs: int) -> dict[str, float]:
    """The metrics of a batch from those of its updates.

    Args:
        metrics: of each update, in order.
        epochs: how many times they went through the batch. The first time every episode was seen once, by a student
            near the policy that played: the metrics are of that, counts added up, extremes kept, the rest averaged.

    Returns:
        With more than one update also `updates/count`, and how far the student has moved by the last one:
        `updates/gap_mean` and `updates/clip_rate`, those of `gap/logprob_mean` and `ratio/clip_rate` there.
    """
    if len(metrics) == 1:
        return dict(metrics[0])
    first = metrics[: len(metrics) // epochs]
    merged: dict[str, float] = {}
    for name in dict.fromkeys(name for one in first for name in one):
        values = [one[name] for one in first if name in one]
        if name.endswith("_max"):
            merged[name] = max(values)
        elif name.endswith("_min"):
            merged[name] = min(values)
        elif name.startswith(_ADDED) and not name.endswith(("_rate", "_share")):
            merged[name] = sum(values)
        else:
            merged[name] = sum(values) / len(values)
    merged |= {name: value for name, value in metrics[0].items() if name.startswith("gap/")}
    merged["updates/count"] = float(len(metrics))
    for name, source in (("gap_mean", "gap/logprob_mean"), ("clip_rate", "ratio/clip_rate")):
        if source in metrics[-1]:
            merged[f"updates/{name}"] = metrics[-1][source]
    return merged
