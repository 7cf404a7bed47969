"""The curriculum contract: who plays which turn, from where, how deep."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from agentdistill.records import Actor, EpisodePlan, LossRole, Recording, Task, TeacherScores, Trajectory

NEEDS = frozenset({"demonstrations", "recordings", "teacher", "expert", "scores"})
"""What a curriculum can ask for: action lists, recorded episodes, a teacher or an expert that plays turns, and the
teacher's log-probabilities while an episode is played."""


def no_recordings(task: Task) -> Recording | None:
    """The lookup of a run that has none."""
    return None


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands when an episode is planned.

    Attributes:
        step: optimiser steps done so far (0 for the first batch).
        total_steps: optimiser steps of the whole run.
        max_steps: the episode's step limit.
        demonstration: successful action list of a task, or None when there is none.
        recording: a recorded episode of a task, or None when there is none.
        seed: seed of the episode being planned; what a plan draws at random, it draws from this.
        sample: index of the episode among those of its task in the batch.
    """

    step: int
    total_steps: int
    max_steps: int
    demonstration: Callable[[Task], tuple[str, ...] | None]
    recording: Callable[[Task], Recording | None] = no_recordings
    seed: int = 0
    sample: int = 0


class Curriculum(Protocol):
    """Shapes episodes as training goes on. Registered as a class, constructed with its config.

    A curriculum may also have `observe_episodes(trajectories, scores)`, as `CurriculumBase` does: it is called with
    the episodes of every finished step, before `observe`.
    """

    @property
    def needs(self) -> frozenset[str]:
        """Subset of `NEEDS`."""
        ...

    def plan(self, task: Task, progress: Progress) -> EpisodePlan:
        """Plans one training episode, without changing the curriculum: it is also asked for what may never be played.

        Evaluation never asks: it is student-only at full depth.
        """
        ...

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Sees the metrics of each finished step, `turn/<index>/...` among them."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs, as JSON."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict`."""
        ...


class CurriculumBase:
    """A curriculum without state that looks at nothing; override what differs."""

    needs: frozenset[str] = frozenset()

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Looks at nothing."""

    def observe_episodes(
        self, trajectories: Sequence[Trajectory], scores: Sequence[Sequence[TeacherScores]] | None
    ) -> None:
        """Sees the episodes of each finished step, before `observe`.

        Args:
            trajectories: the episodes, aborted ones left out.
            scores: the teacher's: for each trajectory one entry per token row; None when nothing was scored.
        """

    def state_dict(self) -> dict[str, Any]:
        """No state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """No state."""


@dataclass(frozen=True, slots=True)
class TurnScore:
    """What student and teacher think of one turn the student played, per token.

    Attributes:
        turn: index of the turn in the episode.
        tokens: its tokens that the teacher has an opinion on, at least 1.
        teacher_logprob: mean log-probability under the teacher, nats.
        kl: mean of log pi_old - log pi_T, nats: the sampled reverse KL.
    """

    turn: int
    tokens: int
    teacher_logprob: float
    kl: float


def turn_scores(trajectory: Trajectory, scores: Sequence[TeacherScores]) -> list[TurnScore]:
    """The scores of an episode by turn, of what the student wrote itself; turns without any opinion are left out.

    Args:
        trajectory: the episode.
        scores: one entry per token row.
    """
    found: list[TurnScore] = []
    for step in trajectory.steps:
        if step.actor is not Actor.STUDENT or step.row < 0 or step.loss_role is LossRole.IMITATE:
            continue
        row, opinion = trajectory.rows[step.row], scores[step.row]
        span = slice(step.start, step.end)
        teacher, own = opinion.sampled_logprob[span].astype(np.float64), row.old_logprob[span].astype(np.float64)
        known = row.mask[span] & opinion.valid[span] & np.isfinite(teacher)
        if known.any():
            count = int(known.sum())
            mean = math.fsum(teacher[known]) / count
            found.append(TurnScore(step.index, count, mean, math.fsum(own[known]) / count - mean))
    return found
