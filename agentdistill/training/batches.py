"""Where a step's trajectories come from: the student's own play, or a set of demonstrations."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from agentdistill.errors import TrainingError
from agentdistill.records import Actor, ScoreRequest, StopReason, Task, TeacherScores, Trajectory, trainable_tokens
from agentdistill.rollout.play import EpisodeRequest, RolloutSettings, play
from agentdistill.training.curriculum import Curriculum, Progress
from agentdistill.training.data import episode_seed, indices_of_step, tasks_of_step
from agentdistill.training.demonstrations import Lookup

if TYPE_CHECKING:
    from agentdistill.conversation.base import ContextPolicy
    from agentdistill.conversation.template import ChatRenderer
    from agentdistill.engines.base import Engine
    from agentdistill.envs.base import EnvironmentSource
    from agentdistill.rollout.guide import Guide
    from agentdistill.teachers.base import Teacher


@dataclass(slots=True)
class Batch:
    """What one optimiser step learns from.

    Attributes:
        trajectories: the episodes.
        scores: one list of `TeacherScores` per trajectory, or None when nothing was scored (imitation).
        metrics: numbers about the batch, for logs.
    """

    trajectories: list[Trajectory]
    scores: list[list[TeacherScores]] | None
    metrics: dict[str, float] = field(default_factory=dict)


class BatchSource(Protocol):
    """Gives each step its batch; a pure function of the step and the student's weights."""

    def batch(self, step: int) -> Batch:
        """The batch of a step, from 0."""
        ...


@dataclass(slots=True)
class OnPolicyBatches:
    """The student plays under the curriculum's plan, the teacher scores what it wrote.

    Attributes:
        source: training environment.
        tasks: training tasks in their fixed order.
        engine: samples from the student; the loop calls `engine.sync` after each optimiser step.
        renderer: chat renderer of the student's tokenizer.
        context: context policy.
        settings: how to play.
        curriculum: plans episodes.
        teacher: scores rows.
        request: what to ask of the teacher.
        lookup: demonstrations for the curriculum.
        seed: seed of the run.
        total_steps: optimiser steps of the run.
        tasks_per_step: tasks in a batch.
        samples_per_task: episodes of each.
        guides: who plays turns in the student's place.
        on_episode: called with each finished trajectory.
    """

    source: EnvironmentSource
    tasks: Sequence[Task]
    engine: Engine
    renderer: ChatRenderer
    context: ContextPolicy
    settings: RolloutSettings
    curriculum: Curriculum
    teacher: Teacher
    request: ScoreRequest
    lookup: Lookup
    seed: int
    total_steps: int
    tasks_per_step: int
    samples_per_task: int
    guides: Mapping[Actor, Guide] = field(default_factory=dict)
    on_episode: Callable[[Trajectory], None] | None = None

    def batch(self, step: int) -> Batch:
        """Plays and scores one batch.

        Raises:
            TrainingError: every episode was aborted.
        """
        progress = Progress(step, self.total_steps, self.settings.max_steps, self.lookup)
        requests = [
            EpisodeRequest(
                task=task,
                plan=self.curriculum.plan(task, progress),
                sample=sample,
                seed=episode_seed(self.seed, step, slot, sample),
                policy_version=step,
            )
            for slot, task in tasks_of_step(self.tasks, self.tasks_per_step, step, self.seed)
            for sample in range(self.samples_per_task)
        ]
        started = time.perf_counter()
        played = play(
            requests,
            source=self.source,
            engine=self.engine,
            renderer=self.renderer,
            context=self.context,
            settings=self.settings,
            guides=self.guides,
            on_episode=self.on_episode,
        )
        rollout_seconds = time.perf_counter() - started
        usable = [t for t in played if t.stop is not StopReason.ABORTED]
        if not usable:
            reasons = Counter(str(t.meta.get("error", "unknown")) for t in played)
            raise TrainingError(
                f"All {len(played)} episodes of step {step} were aborted by their environment.",
                f"Most common error: {reasons.most_common(1)[0][0]}.",
                "Try the environment alone with `agentdistill envs check`; the run can be resumed with --resume.",
            )
        started = time.perf_counter()
        scores = self.teacher.score(usable, self.request)
        metrics = rollout_metrics(played)
        metrics["time/rollout"] = rollout_seconds
        metrics["time/score"] = time.perf_counter() - started
        depths = [request.plan.horizon for request in requests if request.plan.horizon is not None]
        metrics["curriculum/depth"] = sum(depths) / len(depths) if depths else float(self.settings.max_steps)
        prefixes = [len(request.plan.prefix) for request in requests]
        metrics["curriculum/prefix"] = sum(prefixes) / len(prefixes)
        return Batch(usable, scores, metrics)


@dataclass(slots=True)
class SupervisedBatches:
    """Demonstrations in a fresh order every epoch.

    Attributes:
        trajectories: tokenised demonstrations (steps with role IMITATE, or NONE for marked mistakes).
        per_step: demonstrations in a batch.
        seed: seed of the run.
    """

    trajectories: Sequence[Trajectory]
    per_step: int
    seed: int

    def batch(self, step: int) -> Batch:
        """The demonstrations of a step."""
        chosen = [self.trajectories[i] for i in indices_of_step(len(self.trajectories), self.per_step, step, self.seed)]
        return Batch(list(chosen), None, {"data/epoch": step * self.per_step / len(self.trajectories)})


def rollout_metrics(played: Sequence[Trajectory]) -> dict[str, float]:
    """Numbers about a batch of training episodes.

    `rollout/success` is the success inside the window the curriculum allowed: it is not the student's
    success at full depth, which only an evaluation measures.
    """
    usable = [t for t in played if t.stop is not StopReason.ABORTED]
    own = [[s for s in t.steps if s.actor is Actor.STUDENT] for t in usable]
    turns = sum(len(steps) for steps in own)
    metrics: dict[str, float] = {
        "rollout/episodes": float(len(usable)),
        "rollout/aborted": float(len(played) - len(usable)),
        "rollout/turns": float(turns),
        "rollout/guided_turns": float(sum(s.index >= len(t.plan.prefix) for t in usable for s in t.steps) - turns),
        "rollout/env_steps": float(sum(len(t.steps) for t in usable)),
        "rollout/tokens": float(trainable_tokens(usable)),
        "rollout/row_tokens": float(sum(len(row) for t in usable for row in t.rows)),
    }
    if usable:
        metrics["rollout/success"] = sum(t.success for t in usable) / len(usable)
        metrics["rollout/turns_mean"] = turns / len(usable)
    if turns:
        metrics["rollout/invalid_rate"] = sum(not s.valid for steps in own for s in steps) / turns
    for reason in StopReason:
        metrics[f"rollout/stop/{reason.value}"] = float(sum(t.stop is reason for t in played))
    return metrics
