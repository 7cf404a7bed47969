"""Where a step's trajectories come from: the student's own play, or a set of demonstrations."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from agentdistill.diagnostics.play import play_metrics
from agentdistill.errors import TrainingError
from agentdistill.records import Actor, ScoreRequest, StopReason, Task, TeacherScores, Trajectory, trainable_tokens
from agentdistill.rollout.control import OnlineScores
from agentdistill.rollout.play import EpisodeRequest, RolloutSettings, play
from agentdistill.rollout.relabel import relabelled
from agentdistill.training.curriculum import Curriculum, Progress, no_recordings
from agentdistill.training.data import episode_seed, indices_of_step, tasks_of_step
from agentdistill.training.demonstrations import Lookup, with_recording
from agentdistill.training.judges import Judges
from agentdistill.training.recordings import RecordingLookup

if TYPE_CHECKING:
    from agentdistill.conversation.base import ContextPolicy
    from agentdistill.conversation.template import ChatRenderer
    from agentdistill.engines.base import Engine
    from agentdistill.envs.base import EnvironmentSource
    from agentdistill.learner.facts import BatchExtras
    from agentdistill.rollout.guide import Guide
    from agentdistill.teachers.base import Teacher


@dataclass(slots=True)
class Batch:
    """What one optimiser step learns from.

    Attributes:
        trajectories: the episodes.
        scores: one list of `TeacherScores` per trajectory, or None when nothing was scored (imitation).
        metrics: numbers about the batch, for logs.
        extras: rewards, advantages and reference log-probabilities; None when the run has none.
        relabels: what guides wrote at the student's states, learned from beside the episodes.
    """

    trajectories: list[Trajectory]
    scores: list[list[TeacherScores]] | None
    metrics: dict[str, float] = field(default_factory=dict)
    extras: BatchExtras | None = None
    relabels: list[Trajectory] = field(default_factory=list)


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
        teacher: scores rows; None when rewards alone teach.
        request: what to ask of the teacher.
        lookup: demonstrations for the curriculum.
        seed: seed of the run.
        total_steps: optimiser steps of the run.
        tasks_per_step: tasks in a batch.
        samples_per_task: episodes of each.
        guides: who plays turns in the student's place.
        recordings: recorded episodes for the curriculum.
        online: asks the teacher about turns as they are written, for curricula that decide by it.
        judged: rewards, advantage, filters and reference of the run.
        on_episode: called with each finished trajectory.
    """

    source: EnvironmentSource
    tasks: Sequence[Task]
    engine: Engine
    renderer: ChatRenderer
    context: ContextPolicy
    settings: RolloutSettings
    curriculum: Curriculum
    teacher: Teacher | None
    request: ScoreRequest
    lookup: Lookup
    seed: int
    total_steps: int
    tasks_per_step: int
    samples_per_task: int
    guides: Mapping[Actor, Guide] = field(default_factory=dict)
    recordings: RecordingLookup = no_recordings
    online: OnlineScores | None = None
    judged: Judges = field(default_factory=Judges)
    on_episode: Callable[[Trajectory], None] | None = None

    def batch(self, step: int) -> Batch:
        """Plays and scores one batch.

        Raises:
            TrainingError: every episode was aborted.
        """
        progress = Progress(step, self.total_steps, self.settings.max_steps, self.lookup, self.recordings)
        requests = [
            self._request(task, dataclasses.replace(progress, seed=episode_seed(self.seed, step, slot, n), sample=n))
            for slot, task in tasks_of_step(self.tasks, self.tasks_per_step, step, self.seed)
            for n in range(self.samples_per_task)
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
            score=self.online,
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
        relabels = relabelled(
            usable, guides=self.guides, renderer=self.renderer, context=self.context, settings=self.settings
        )
        started = time.perf_counter()
        scores = self.teacher.score(usable, self.request) if self.teacher is not None else None
        metrics = rollout_metrics(played)
        metrics["time/rollout"] = rollout_seconds
        metrics["time/score"] = time.perf_counter() - started
        usable, extras, more = self.judged(usable, scores, step)
        metrics |= more
        depths = [request.plan.horizon for request in requests if request.plan.horizon is not None]
        metrics["curriculum/depth"] = sum(depths) / len(depths) if depths else float(self.settings.max_steps)
        prefixes = [len(request.plan.prefix) for request in requests]
        metrics["curriculum/prefix"] = sum(prefixes) / len(prefixes)
        if relabels:
            metrics["curriculum/relabelled_turns"] = float(sum(len(t.steps) for t in relabels))
        return Batch(usable, scores, metrics, extras, relabels)

    def _request(self, task: Task, progress: Progress) -> EpisodeRequest:
        plan = with_recording(self.curriculum.plan(task, progress), task, self.recordings)
        return EpisodeRequest(task, plan, progress.sample, progress.seed, policy_version=progress.step)


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
    own = [[s for s in t.steps if s.actor is Actor.STUDENT and not s.info.get("replayed")] for t in usable]
    turns = sum(len(steps) for steps in own)
    metrics: dict[str, float] = {
        "rollout/episodes": float(len(usable)),
        "rollout/aborted": float(len(played) - len(usable)),
        "rollout/turns": float(turns),
        "rollout/guided_turns": float(sum(s.index >= len(t.plan.prefix) for t in usable for s in t.steps) - turns),
        "rollout/env_steps": float(sum(len(t.steps) for t in usable if not t.plan.offline)),
        "rollout/tokens": float(trainable_tokens(usable)),
        "rollout/row_tokens": float(sum(len(row) for t in usable for row in t.rows)),
    }
    if usable:
        metrics["rollout/success"] = sum(t.success for t in usable) / len(usable)
        metrics["rollout/turns_mean"] = turns / len(usable)
    if turns:
        metrics["rollout/invalid_rate"] = sum(not s.valid for steps in own for s in steps) / turns
        metrics |= play_metrics(usable)
    for reason in StopReason:
        metrics[f"rollout/stop/{reason.value}"] = float(sum(t.stop is reason for t in played))
    return metrics
