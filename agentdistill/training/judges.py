"""What a batch goes through between the teacher and the learner: rewards, advantage, reference, filters."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentdistill.records import TeacherScores, Trajectory
from agentdistill.training.rewarded import (
    Array,
    RewardedBatch,
    RewardTerm,
    ScoredBatch,
    advantage_metrics,
    checked,
    filtered,
    total_rewards,
    trained_turns,
)

if TYPE_CHECKING:
    from agentdistill.learner.facts import BatchExtras

Filter = Callable[[ScoredBatch], Sequence[npt.NDArray[np.bool_]]]
Reference = Callable[[Sequence[Trajectory]], list[list[Array]]]


@dataclass(frozen=True, slots=True)
class Judges:
    """The parts of a run that judge finished episodes.

    Attributes:
        rewards: terms of the reward; empty without rewards.
        advantage: `RewardedBatch` -> float32 [steps] per episode; None without an RL branch.
        filters: by the name that metrics use, in order.
        reference: log-probabilities of every row under the student as the run began; None when nobody asks.
        members: names of several teachers, for filters.
    """

    rewards: Sequence[RewardTerm] = ()
    advantage: Callable[[RewardedBatch], Sequence[Array]] | None = None
    filters: Mapping[str, Filter] = field(default_factory=dict)
    reference: Reference | None = None
    members: tuple[str, ...] = ()

    def __call__(
        self, trajectories: list[Trajectory], scores: Sequence[Sequence[TeacherScores]] | None, step: int
    ) -> tuple[list[Trajectory], BatchExtras | None, dict[str, float]]:
        """Judges a batch. Advantages compare all episodes, those too that a filter then leaves out.

        Args:
            trajectories: the episodes, aborted ones removed.
            scores: the teacher's; None without a teacher.
            step: optimiser steps done so far.

        Returns:
            The episodes (turns left out have the role NONE), what the learner is told besides, and metrics.

        Raises:
            PluginError: a plugin answered in another shape.
        """
        if not self.rewards and not self.filters and self.reference is None:
            return trajectories, None, {}
        from agentdistill.learner.facts import BatchExtras, task_groups

        started = time.perf_counter()
        metrics: dict[str, float] = {}
        group = task_groups(trajectories)
        rewards: list[Array] | None = None
        advantages: list[Array] | None = None
        if self.rewards:
            rewards, metrics = total_rewards(self.rewards, trajectories)
        if self.advantage is not None:
            batch = RewardedBatch(trajectories, rewards or [], group)
            advantages = checked(self.advantage(batch), trajectories, "advantage")
            metrics |= advantage_metrics(batch, advantages)
        if self.filters:
            seen = ScoredBatch(trajectories, scores, rewards, group, step, self.members)
            trajectories, left_out = filtered(self.filters, seen)
            metrics |= left_out
            metrics["batch/empty"] = float(not trained_turns(trajectories))
        reference = self.reference(trajectories) if self.reference is not None else None
        metrics["time/judge"] = time.perf_counter() - started
        return trajectories, BatchExtras(rewards, advantages, reference), metrics

    def state_dict(self) -> dict[str, Any]:
        """The state of the rewards that have one, by their name."""
        return {term.name: term.judge.state_dict() for term in self.rewards if hasattr(term.judge, "state_dict")}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict`."""
        for term in self.rewards:
            if hasattr(term.judge, "load_state_dict") and term.name in state:
                term.judge.load_state_dict(state[term.name])
