"""Batches with rewards and tokens with outcomes, written down by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from agentdistill.learner.statistics import TokenStatistics
from agentdistill.records import EpisodePlan, LossRole, Step, StopReason, Task, Trajectory
from agentdistill.training.rewarded import RewardedBatch, ScoredBatch


def episode(
    rewards: Sequence[float],
    *,
    key: str = "task",
    observations: Sequence[str] | None = None,
    actions: Sequence[str] | None = None,
    responses: Sequence[str] | None = None,
    valid: Sequence[bool] | None = None,
    success: bool | None = None,
    stop: StopReason = StopReason.FAILURE,
    version: int = 0,
    replayed: int = 0,
) -> Trajectory:
    """An episode of len(rewards) turns; by default each has an observation of its own, and a positive sum is a win."""
    steps = [
        Step(
            index=k,
            observation=observations[k] if observations else f"{key} {k} {len(rewards)}",
            response=responses[k] if responses else "a",
            action=actions[k] if actions else f"do {k}",
            valid=valid[k] if valid else True,
            loss_role=LossRole.NONE if k < replayed else LossRole.DISTILL,
        )
        for k in range(len(rewards))
    ]
    won = sum(rewards) > 0 if success is None else success
    return Trajectory(Task("made", "train", key), EpisodePlan(), steps, [], stop, success=won, policy_version=version)


def rewarded(*groups: Sequence[Sequence[float]], **options: Any) -> RewardedBatch:
    """A batch of groups of episodes, each given by the rewards of its turns."""
    made = [episode(r, key=f"task {g}", **options) for g, members in enumerate(groups) for r in members]
    return of(made, [r for members in groups for r in members])


def of(trajectories: Sequence[Trajectory], rewards: Sequence[Sequence[float]]) -> RewardedBatch:
    """A batch of episodes; those of one task key are a group."""
    keys = list(dict.fromkeys(t.task.key for t in trajectories))
    group = np.array([keys.index(t.task.key) for t in trajectories], dtype=np.int64)
    return RewardedBatch(trajectories, [np.array(r, dtype=np.float32) for r in rewards], group)


def scored(trajectories: Sequence[Trajectory], scores: Any = None, step: int = 0) -> ScoredBatch:
    """What a filter sees."""
    keys = list(dict.fromkeys(t.task.key for t in trajectories))
    group = np.array([keys.index(t.task.key) for t in trajectories], dtype=np.int64)
    return ScoredBatch(trajectories, scores, None, group, step)


def firsts(advantages: Sequence[np.ndarray]) -> list[float]:
    """The advantage of each episode's first turn."""
    return [float(a[0]) for a in advantages]


def tokens(
    turns: Sequence[Sequence[int]],
    *,
    old: Sequence[float] | torch.Tensor | None = None,
    teacher: Sequence[float] | torch.Tensor | None = None,
    advantage: Sequence[Sequence[float]] | None = None,
    success: Sequence[bool] | None = None,
    group: Sequence[int] | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> TokenStatistics:
    """The tokens of episodes given by the lengths of their turns; log-probabilities are random unless given.

    Args:
        turns: per episode the number of tokens of each turn.
        old: [N], or None for random.
        teacher: [N], or None for random.
        advantage: per episode one number for each turn.
        success: per episode.
        group: per episode; by default each has its own.
        seed: of the random log-probabilities.
        dtype: of the log-probabilities.
    """
    place = [(i, k, j, n) for i, lengths in enumerate(turns) for k, n in enumerate(lengths) for j in range(n)]
    generator = torch.Generator().manual_seed(seed)
    count = len(place)

    def given(values: Any) -> torch.Tensor:
        random = -2.0 * torch.rand(count, generator=generator, dtype=torch.float64)
        return (random if values is None else torch.as_tensor(values, dtype=torch.float64)).to(dtype)

    def column(number: int) -> torch.Tensor:
        return torch.tensor([p[number] for p in place], dtype=torch.int64)

    known: dict[str, Any] = {}
    if advantage is not None:
        known["advantage"] = torch.tensor([advantage[i][k] for i, k, _, _ in place], dtype=dtype)
    if success is not None:
        known["success"] = torch.tensor([success[i] for i, *_ in place], dtype=torch.bool)
    if group is not None:
        known["group"] = torch.tensor([group[i] for i, *_ in place], dtype=torch.int64)
    return TokenStatistics(
        trajectory=column(0),
        turn=column(1),
        column=column(1),
        position=column(2),
        token_id=torch.zeros(count, dtype=torch.int64),
        old_logprob=given(old),
        teacher_logprob=given(teacher),
        teacher_entropy=torch.full((count,), torch.nan, dtype=dtype),
        **known,
    )
