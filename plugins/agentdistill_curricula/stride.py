"""STRIDE (arXiv 2609.14636): an episode stops where its teacher is lost, and begins again from its last good turns.

Once the accumulated log-likelihood of the student's turns under the teacher falls below a bound, what follows is
expensive and teaches little: the episode ends with that turn, which is still trained. Later episodes of the task may
begin where it was still good, by replay of the student's own turns, instead of from the start.

Formula: with l_k = mean_j log pi_T(y_kj), stop at K* = min{K : sum_{k<=K} l_k < lambda}, counted from the first newly
written turn. Of every finished episode the longest contiguous prefix with l_k > alpha is good; the restart is at the
weakest turn, argmin_k l_k, where that comes earlier, and the turns before it are kept.

Defaults: lambda = -1 (paper: -1 or -2), alpha = -0.8 (the paper's for agents, None for no bound). `reuse`, how often a
kept prefix is used when its task comes up again, is 0.5; the paper restarts a stopped rollout as soon as there is room.

Differences: the student's turns that the environment did not accept end a prefix too, since such a replay could not be
told from one that went wrong. An episode that was won leaves no prefix. The replay is verified: what is seen must be
what was recorded, or the episode is aborted. One prefix is kept for each task, `capacity` in all, the oldest go first.

Proof tests: tests/curricula/test_stride.py (stop index against the naive sum, the triggering turn is trained, replay
restores the recorded state, the sum begins anew after it, capacity, resume).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from agentdistill.plugins import PluginConfig
from agentdistill.records import Actor, EpisodePlan, Recording, Step, Task, TeacherScores, Trajectory, TurnControl
from agentdistill.rollout.control import KEEP, Decision, TurnEvidence
from agentdistill.training.curriculum import CurriculumBase, Progress
from agentdistill_curricula.draws import name_of, uniform


class StrideConfig(PluginConfig):
    """When to stop, and what to keep.

    Attributes:
        bound: lambda, the accumulated log-likelihood per token below which an episode stops, nats; below 0.
        good: alpha, the log-likelihood per token a turn must have to be kept; None keeps up to the weakest.
        reuse: probability that an episode of a task with a kept prefix begins after it.
        capacity: most prefixes kept.
    """

    bound: float = Field(default=-1.0, lt=0.0)
    good: float | None = Field(default=-0.8, le=0.0)
    reuse: float = Field(default=0.5, ge=0.0, le=1.0)
    capacity: int = Field(default=512, ge=1)


def decide(evidence: TurnEvidence, numbers: Mapping[str, float]) -> Decision:
    """Stops after the turn that takes the sum below the bound; turns without an opinion (NaN) add nothing."""
    known = [value for value in (*evidence.past, evidence.teacher_logprob) if not math.isnan(value)]
    return Decision(stop=True) if math.fsum(known) < numbers["bound"] else KEEP


def good_turns(logprobs: Sequence[float], good: float | None) -> int:
    """How many of an episode's first turns are kept; NaN is not good.

    Args:
        logprobs: l_k of its turns, replayed ones included.
        good: alpha, or None.
    """
    if not logprobs:
        return 0
    worst = min(range(len(logprobs)), key=lambda k: -math.inf if math.isnan(logprobs[k]) else logprobs[k])
    bad = (k for k, value in enumerate(logprobs) if math.isnan(value) or (good is not None and value <= good))
    return min(worst, next(bad, len(logprobs)))


class Stride(CurriculumBase):
    """Keeps one good prefix for each of the tasks seen last."""

    needs = frozenset({"scores"})

    def __init__(self, config: StrideConfig) -> None:
        """Keeps the options."""
        self.config = config
        self.kept: dict[str, dict[str, Any]] = {}

    def plan(self, task: Task, progress: Progress) -> EpisodePlan:
        """An episode that may stop, from the start or from a kept prefix."""
        control = TurnControl(f"{__name__}:decide", {"bound": self.config.bound}, scored=True)
        kept = self.kept.get(name_of(task))
        if kept is None or uniform("restart", progress.seed) >= self.config.reuse:
            return EpisodePlan(control=control, note={"restart": 0.0})
        actions = tuple(kept["actions"])
        seen, words = tuple(kept["observations"]), tuple(kept["responses"])
        return EpisodePlan(
            prefix=actions,
            prefix_actor=Actor.STUDENT,
            control=control,
            recording=Recording(kept["goal"], actions, seen, words),
            note={"restart": 1.0, "prefix": float(len(actions))},
        )

    def observe_episodes(
        self, trajectories: Sequence[Trajectory], scores: Sequence[Sequence[TeacherScores]] | None
    ) -> None:
        """Keeps the longest good prefix of each task's episodes in place of what was kept of it."""
        planned, found = dict(self.kept), dict[str, dict[str, Any] | None]()
        for trajectory in trajectories:
            name, steps = name_of(trajectory.task), trajectory.steps
            values = [self._logprob(step) for step in steps]
            if trajectory.plan.prefix:
                known = planned.get(name, {}).get("logprobs", [])
                values[: len(known)] = known
            turns = good_turns(values, self.config.good)
            before = found.get(name, {})
            if trajectory.success or before is None:
                found[name] = None
            elif turns > len(before.get("actions", ())):
                found[name] = {
                    "goal": str(trajectory.meta.get("goal", "")),
                    "actions": [step.action for step in steps[:turns]],
                    "observations": [step.observation for step in steps[: turns + 1]],
                    "responses": [step.response for step in steps[:turns]],
                    "logprobs": values[:turns],
                }
            else:
                found.setdefault(name, {})
        for name, prefix in found.items():
            self.kept.pop(name, None)
            if prefix:
                self.kept[name] = prefix
        for name in list(self.kept)[: -self.config.capacity]:
            del self.kept[name]

    @staticmethod
    def _logprob(step: Step) -> float:
        value: float = step.info.get("control", {}).get("teacher_logprob", math.nan)
        return value if step.valid and step.action else math.nan

    def state_dict(self) -> dict[str, Any]:
        """The kept prefixes, oldest first."""
        return {"kept": {name: dict(kept) for name, kept in self.kept.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores them."""
        self.kept = {str(name): dict(kept) for name, kept in state["kept"].items()}
