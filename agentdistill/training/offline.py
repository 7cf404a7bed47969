"""Training on stored rollouts: what the student, or an earlier one, played before is scored and learned from.

With a teacher of whom only scores are left (`[teacher] cache = "only"`), neither a teacher nor an environment takes
part in training. The rollouts carry the log-probabilities of the policy that played them; every ratio is to these.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agentdistill.errors import DataError
from agentdistill.records import ScoreRequest, StopReason, Trajectory, trainable_tokens
from agentdistill.store import TrajectoryStore
from agentdistill.training.batches import Batch
from agentdistill.training.data import indices_of_step
from agentdistill.training.judges import Judges

if TYPE_CHECKING:
    from agentdistill.teachers.base import Teacher
    from agentdistill.training.assembly import Parts

Group = list[Trajectory]

PROBED = 4
"""Episodes whose stored log-probabilities are compared with the student's before the start."""


@dataclass(frozen=True, slots=True)
class Rollouts:
    """Stored rollouts, ready to train on.

    Attributes:
        groups: episodes of one task by one policy, at most `rollout.samples_per_task` in each, in stored order.
        left_out: episodes that were aborted or have no token that a student sampled.
    """

    groups: Sequence[Group]
    left_out: int

    @property
    def episodes(self) -> list[Trajectory]:
        """All of them."""
        return [trajectory for group in self.groups for trajectory in group]


def load_rollouts(path: Path, samples_per_task: int) -> Rollouts:
    """Reads a trajectory store: `episodes` of a run, or what `agentdistill collect --agent student` wrote.

    Args:
        path: the store.
        samples_per_task: most episodes of one task that stay together.

    Raises:
        DataError: there is no such store, or it has nothing to train on.
    """
    if not path.is_dir():
        raise DataError(
            f"There are no rollouts in {path}.",
            "It is no directory.",
            "Give the `episodes` of a run, or collect some with `agentdistill collect --agent student`.",
        )
    by_task: dict[tuple[str, str, str, int, int], list[Group]] = {}
    groups: list[Group] = []
    left_out = 0
    for trajectory in TrajectoryStore(path).read():
        if trajectory.stop is StopReason.ABORTED or not trainable_tokens([trajectory]):
            left_out += 1
            continue
        task = trajectory.task
        own = by_task.setdefault((task.env, task.split, task.key, task.seed, trajectory.policy_version), [])
        if not own or len(own[-1]) >= samples_per_task:
            own.append([])
            groups.append(own[-1])
        own[-1].append(trajectory)
    if not groups:
        raise DataError(
            f"The rollouts in {path} have nothing to train on.",
            f"None of their {left_out} episodes has a token that a student sampled (an expert's have none).",
            "Collect some with `agentdistill collect --agent student --failures`.",
        )
    return Rollouts(groups, left_out)


@dataclass(slots=True)
class OfflineBatches:
    """Stored rollouts in a fresh order every epoch; the episodes of a batch are in stored order.

    Attributes:
        groups: what `load_rollouts` found.
        teacher: scores rows; None when rewards alone teach.
        request: what to ask of the teacher.
        per_step: groups in a batch.
        seed: seed of the run.
        judged: rewards, advantage, filters and reference of the run.
    """

    groups: Sequence[Group]
    teacher: Teacher | None
    request: ScoreRequest
    per_step: int
    seed: int
    judged: Judges = field(default_factory=Judges)

    def batch(self, step: int) -> Batch:
        """The rollouts of a step, scored."""
        chosen = sorted(indices_of_step(len(self.groups), self.per_step, step, self.seed))
        episodes = [trajectory for index in chosen for trajectory in self.groups[index]]
        started = time.perf_counter()
        scores = self.teacher.score(episodes, self.request) if self.teacher is not None else None
        metrics = offline_metrics(episodes, step)
        metrics["data/epoch"] = step * self.per_step / len(self.groups)
        metrics["time/score"] = time.perf_counter() - started
        usable, extras, more = self.judged(episodes, scores, step)
        return Batch(usable, scores, metrics | more, extras)


def offline_metrics(episodes: Sequence[Trajectory], step: int) -> dict[str, float]:
    """Numbers about a batch of stored rollouts. Nothing was played and nothing sampled for it.

    Args:
        episodes: the batch.
        step: optimiser steps done.
    """
    ages = [step - trajectory.policy_version for trajectory in episodes]
    return {
        "data/episodes": float(len(episodes)),
        "data/tokens": float(trainable_tokens(episodes)),
        "data/success": sum(t.success for t in episodes) / len(episodes),
        "data/policy_age": sum(ages) / len(ages),
        "rollout/row_tokens": float(sum(len(row) for t in episodes for row in t.rows)),
    }


def offline_batches(parts: Parts, path: Path) -> tuple[OfflineBatches, list[str]]:
    """Makes the batches of a run from stored rollouts, and says what they are.

    Args:
        parts: the run.
        path: the trajectory store.

    Raises:
        DataError: there is nothing to train on, or the rollouts do not fit the run's prompts or methods.
    """
    config = parts.config
    rollouts = load_rollouts(path, config.rollout.samples_per_task)
    _check_fit(parts, path, rollouts.episodes)
    taught = config.loss is not None
    batches = OfflineBatches(
        groups=rollouts.groups,
        teacher=parts.teacher if taught else None,
        request=parts.request if taught else ScoreRequest(),
        per_step=config.rollout.tasks_per_step,
        seed=config.run.seed,
        judged=parts.judges,
    )
    episodes, tokens = len(rollouts.episodes), trainable_tokens(rollouts.episodes)
    epochs = config.optim.steps * config.rollout.tasks_per_step / len(rollouts.groups)
    left = f", {rollouts.left_out} left out" if rollouts.left_out else ""
    return batches, [
        f"offline  {episodes:,} stored episodes ({tokens:,} sampled tokens{left}) of {path}, {epochs:.3g} epochs; "
        "nothing is played to train on",
        f"offline  the student's log-probabilities differ from those it was played with by {_gap(parts, rollouts):.1e} "
        "nats on average",
    ]


def score_rollouts(parts: Parts, path: Path) -> Iterator[tuple[int, int]]:
    """Lets a run's teacher score stored rollouts, so that its cache has all that training on them will ask for.

    Args:
        parts: the run, with `teacher.cache = "on"`.
        path: the trajectory store.

    Yields:
        (episodes done, episodes in all).

    Raises:
        DataError: there is nothing to train on, or the rollouts do not fit the run's prompts or methods.
    """
    batches, _ = offline_batches(parts, path)
    teacher, episodes = parts.teacher, [trajectory for group in batches.groups for trajectory in group]
    if batches.request.hidden:
        teacher.output_weight()
    size = parts.config.rollout.tasks_per_step * parts.config.rollout.samples_per_task
    for start in range(0, len(episodes), size):
        teacher.score(episodes[start : start + size], batches.request)
        yield min(start + size, len(episodes)), len(episodes)


def _check_fit(parts: Parts, path: Path, episodes: Sequence[Trajectory]) -> None:
    mine = parts.context.prompt_hash
    others = sorted({str(t.meta["prompt_hash"]) for t in episodes if t.meta.get("prompt_hash", mine) != mine})
    if others:
        raise DataError(
            f"The rollouts in {path} were played with other prompts than this run's.",
            f"Their prompt hashes are {', '.join(others)}, that of this run is {mine}: the student would learn to "
            "answer prompts that it is not evaluated with.",
            "Give the run the [env] section, and its context, that they were played with.",
        )
    wanted: Mapping[str, str] = {"old_entropy": "old_entropy", "overlap": "old_top_ids"}
    for need, attribute in wanted.items():
        if need in parts.needs and any(getattr(row, attribute) is None for t in episodes for row in t.rows):
            raise DataError(
                f"The rollouts in {path} lack `{need}`, which a method of this run needs.",
                "It is measured while tokens are sampled, when somebody asks for it.",
                "Play them again with this recipe, or leave that method out.",
            )


def _gap(parts: Parts, rollouts: Rollouts) -> float:
    """Mean |difference| of log-probabilities between the student and the policies that played a few of the episodes."""
    from agentdistill.learner.heads import split_model
    from agentdistill.teachers.scoring import score_rows

    rows = [row for trajectory in rollouts.episodes[:PROBED] for row in trajectory.rows]
    sizes = parts.config.optim.micro_batch_tokens
    scores = score_rows(split_model(parts.student), rows, ScoreRequest(), batch_tokens=sizes)
    pairs = zip(scores, rows, strict=True)
    gaps = np.concatenate([np.abs(s.sampled_logprob[row.mask] - row.old_logprob[row.mask]) for s, row in pairs])
    return float(gaps.mean(dtype=np.float64))
