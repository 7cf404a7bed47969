"""What the learner is told of a batch besides tokens and scores, and what it reads off the episodes itself."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from agentdistill.learner.statistics import EpisodeFacts, TokenRole
from agentdistill.records import TeacherScores, TokenRow, Trajectory


@dataclass(frozen=True, slots=True)
class BatchExtras:
    """Optional companions of a batch, parallel to its trajectories.

    Attributes:
        rewards: float32 [steps] each, the summed terms of the reward; None without rewards.
        advantages: float32 [steps] each, the RL advantage of every turn; None without an advantage.
        reference: per row float32 [T], log-probabilities under the student as the run began; None when not asked for.
    """

    rewards: Sequence[npt.NDArray[np.float32]] | None = None
    advantages: Sequence[npt.NDArray[np.float32]] | None = None
    reference: Sequence[Sequence[npt.NDArray[np.float32]]] | None = None


def task_groups(trajectories: Sequence[Trajectory]) -> npt.NDArray[np.int64]:
    """Numbers episodes so that those of one task share a number, in the order of first appearance; int64 [B]."""
    numbers: dict[tuple[str, str, str, int], int] = {}
    keys = [(t.task.env, t.task.split, t.task.key, t.task.seed) for t in trajectories]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def episode_facts(
    trajectories: Sequence[Trajectory], rewards: Sequence[npt.NDArray[np.float32]] | None
) -> EpisodeFacts:
    """What step statistics say of the episodes of a batch.

    Args:
        trajectories: the episodes.
        rewards: their rewards, None without any.
    """
    total = [float("nan")] * len(trajectories) if rewards is None else [float(r.sum()) for r in rewards]
    return EpisodeFacts(
        group=torch.from_numpy(task_groups(trajectories)),
        success=torch.tensor([t.success for t in trajectories], dtype=torch.bool),
        reward=torch.tensor(total, dtype=torch.float32),
        valid=[{s.index: s.valid for s in t.steps} for t in trajectories],
        repeated=[
            {b.index for a, b in pairwise(t.steps) if (a.observation, a.action) == (b.observation, b.action)}
            for t in trajectories
        ],
        annotations=[
            {s.index: s.info["annotations"] for s in t.steps if s.info.get("annotations")} for t in trajectories
        ],
    )


def were_cut(trajectories: Sequence[Trajectory]) -> torch.Tensor:
    """Which episodes the curriculum ended, bool [B]: nobody knows whether they would have been won."""
    return torch.tensor([t.cut for t in trajectories], dtype=torch.bool)


def turn_values(trajectory: Trajectory, values: npt.NDArray[np.float32]) -> dict[int, float]:
    """A number by turn index from one number per step."""
    return {step.index: float(value) for step, value in zip(trajectory.steps, values, strict=True)}


def overlap(row: TokenRow, scores: TeacherScores) -> npt.NDArray[np.float32]:
    """Share of the student's most likely ids that are among as many of the teacher's, float32 [T].

    NaN everywhere unless the engine reported its top ids and the teacher at least as many.
    """
    mine, theirs = row.old_top_ids, scores.topk_ids
    if mine is None or theirs is None or theirs.shape[1] < mine.shape[1]:
        return np.full(len(row), np.nan, dtype=np.float32)
    k = mine.shape[1]
    shared = (mine[:, :, None] == theirs[:, None, :k]).any(-1).mean(-1, dtype=np.float32)
    unknown = (mine[:, 0] < 0) | (theirs[:, 0] < 0)
    return np.where(unknown, np.float32(np.nan), shared).astype(np.float32)


def token_roles(trajectory: Trajectory, number: int, tokenizer: Any) -> npt.NDArray[np.int64]:
    """What each token of a row is in its response: command, special token, or other text.

    A token belongs to the command when its characters touch the last place in the response where the command stands.

    Args:
        trajectory: the episode.
        number: which of its rows.
        tokenizer: the student's.

    Returns:
        int64 [T] of `TokenRole`; TEXT for context.
    """
    row = trajectory.rows[number]
    roles = np.full(len(row), TokenRole.TEXT, dtype=np.int64)
    special = np.isin(row.token_ids, np.asarray(tokenizer.all_special_ids, dtype=np.int64))
    for step in trajectory.steps:
        if step.row != number or not step.action:
            continue
        ids = row.token_ids[step.start : step.end].tolist()
        first = tokenizer.decode(ids).rfind(step.action)
        if first < 0:
            continue

        def written(count: int, ids: list[int] = ids) -> int:
            return len(tokenizer.decode(ids[:count]))

        # The token that writes character c is the first after which more than c characters are there.
        counts = range(1, len(ids) + 1)
        begin = bisect.bisect_right(counts, first, key=written)
        end = bisect.bisect_left(counts, first + len(step.action), key=written) + 1
        roles[step.start + begin : step.start + end] = TokenRole.ACTION
    own = row.step_of_token >= 0
    roles[special & own] = TokenRole.SPECIAL
    return roles
