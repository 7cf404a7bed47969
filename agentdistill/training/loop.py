"""The training loop: batch, optimiser step, log, checkpoint, evaluate. It knows no method and no environment."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from agentdistill.diagnostics import Alert, Monitor
from agentdistill.engines.base import engine_metrics
from agentdistill.errors import Interruption
from agentdistill.store import TrajectoryStore
from agentdistill.teachers.optional import follow_student, restore_teacher, teacher_metrics, teacher_state
from agentdistill.training.batches import Batch, BatchSource
from agentdistill.training.checkpoint import Checkpoint, load_student_weights, load_trainer_state, save_checkpoint
from agentdistill.training.curriculum import Curriculum
from agentdistill.training.events import BatchReady, CheckpointSaved, Restored, StepEnd
from agentdistill.training.relabels import with_relabels

if TYPE_CHECKING:
    from agentdistill.engines.base import Engine
    from agentdistill.evaluate.run import EvalResult
    from agentdistill.learner.fusion import Fusion
    from agentdistill.learner.learner import Learner
    from agentdistill.models import LoadedModel
    from agentdistill.teachers.base import Teacher


class Tracker(Protocol):
    """Where metrics go."""

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Records the metrics of a step."""
        ...

    def truncate(self, step: int) -> None:
        """Forgets everything after a step (a resumed run logs those steps again)."""
        ...

    def close(self) -> None:
        """Flushes."""
        ...


@dataclass(slots=True)
class Totals:
    """Running costs of a run, part of its checkpoint.

    Attributes:
        env_steps: steps of environments.
        episodes: episodes played.
        sampled_tokens: tokens the student wrote.
        teacher_tokens: tokens the teacher read: rows it scored, kept scores aside, and prompts of an endpoint.
        teacher_written_tokens: tokens an endpoint wrote in the teacher's place.
        teacher_cost_usd: what that cost, where prices are known.
        judge_tokens: tokens that judges read and wrote.
        judge_cost_usd: what that cost, where prices are known.
    """

    env_steps: float = 0.0
    episodes: float = 0.0
    sampled_tokens: float = 0.0
    teacher_tokens: float = 0.0
    teacher_written_tokens: float = 0.0
    teacher_cost_usd: float = 0.0
    judge_tokens: float = 0.0
    judge_cost_usd: float = 0.0

    def add(self, metrics: Mapping[str, float], *, scored: bool) -> None:
        """Adds one batch.

        Args:
            metrics: of the batch.
            scored: a teacher was asked for the rows' scores.
        """

        def summed(part: str, name: str) -> float:
            return sum(v for key, v in metrics.items() if key.startswith(f"{part}/") and key.endswith(f"/{name}"))

        self.env_steps += metrics.get("rollout/env_steps", 0.0)
        self.episodes += metrics.get("rollout/episodes", 0.0)
        self.sampled_tokens += metrics.get("rollout/tokens", 0.0)
        if scored:
            self.teacher_tokens += metrics.get("rollout/row_tokens", 0.0) - metrics.get("teacher/cached_tokens", 0.0)
        self.teacher_tokens += summed("teacher", "tokens_in")
        self.teacher_written_tokens += summed("teacher", "tokens_out")
        self.teacher_cost_usd += summed("teacher", "cost_usd")
        self.judge_tokens += summed("reward", "tokens_in") + summed("reward", "tokens_out")
        self.judge_cost_usd += summed("reward", "cost_usd")

    def as_dict(self) -> dict[str, float]:
        """The totals by name."""
        return dataclasses.asdict(self)


@dataclass(slots=True)
class TrainingLoop:
    """Runs optimiser steps from a batch source.

    Attributes:
        learner: turns a batch into one optimiser step.
        batches: gives each step its batch.
        student: the model being trained, with its tokenizer.
        steps: optimiser steps of the whole run.
        directory: the run's folder.
        config_hash: identity of the configuration, checked on resume.
        engine: told after each step that the weights changed; None when nothing samples.
        curriculum: sees metrics and episodes, is checkpointed; None when there is none.
        fusion: sees metrics, is checkpointed; None when there is none.
        teacher: told after each optimiser step that the student moved, is checkpointed; None when there is none.
        store: episodes on disk; None keeps none.
        trackers: where metrics go.
        checkpoint_every: optimiser steps between checkpoints; 0 is only at the end.
        keep: checkpoints to keep.
        eval_every: optimiser steps between evaluations; 0 is never during training.
        evaluate: evaluates the current student at a step.
        on_step: sees the metrics of each step (live progress).
        emit: tells plugins about an event.
        monitor: watches the metrics, and is checkpointed; None when nobody does.
        on_alert: sees each warning that the monitor raises.
    """

    learner: Learner
    batches: BatchSource
    student: LoadedModel
    steps: int
    directory: Path
    config_hash: str
    engine: Engine | None = None
    curriculum: Curriculum | None = None
    fusion: Fusion | None = None
    teacher: Teacher | None = None
    store: TrajectoryStore | None = None
    trackers: list[Tracker] = field(default_factory=list)
    checkpoint_every: int = 0
    keep: int = 2
    eval_every: int = 0
    evaluate: Callable[[int], EvalResult] | None = None
    on_step: Callable[[Mapping[str, Any]], None] | None = None
    emit: Callable[[Any], None] | None = None
    monitor: Monitor | None = None
    on_alert: Callable[[Alert], None] | None = None
    totals: Totals = field(default_factory=Totals)

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.directory / "checkpoints"

    def run(self, start: int = 0) -> None:
        """Trains from a step to the end and leaves a final checkpoint.

        Args:
            start: optimiser steps already done.
        """
        if start == 0:  # a run killed before its first interval resumes from here
            self._checkpoint(0)
        for step in range(start, self.steps):
            began = time.perf_counter()
            batch = self._batch(step)
            self._emit(BatchReady(step, batch.trajectories, batch.metrics, batch.scores or ()))
            metrics = self._learn(batch)
            done = step + 1
            if self.engine is not None:
                self.engine.sync(done)
                metrics.update(engine_metrics(self.engine))
            if self.teacher is not None and follow_student(self.teacher, done):
                self._refresh_teacher_weight()
            if self.store is not None:
                for trajectory in batch.trajectories:
                    self.store.append(trajectory)
            self.totals.add(metrics, scored=batch.scores is not None)
            metrics.update({f"total/{name}": value for name, value in self.totals.as_dict().items()})
            metrics["time/step"] = time.perf_counter() - began
            if metrics.get("rollout/tokens"):
                metrics["tokens_per_second"] = metrics["rollout/tokens"] / metrics["time/step"]
            alerts = self.monitor.observe(done, metrics) if self.monitor is not None else []
            metrics.update({f"warning/{alert.name}": 1.0 for alert in alerts})
            self._report(done, metrics)
            for alert in alerts:
                if self.on_alert is not None:
                    self.on_alert(alert)
            if done == self.steps or (self.checkpoint_every and done % self.checkpoint_every == 0):
                self._checkpoint(done)
            if self.evaluate is not None and self.eval_every and done % self.eval_every == 0 and done < self.steps:
                self.evaluate(done)

    def restore(self, checkpoint: Checkpoint) -> int:
        """Puts everything back to a checkpoint and forgets what was logged after it.

        Returns:
            Optimiser steps done, the `start` of `run`.
        """
        load_student_weights(checkpoint, self.student.model)
        trainer = load_trainer_state(checkpoint)
        restore_teacher(self.teacher, trainer.pop("teacher", {}))
        self.learner.load_state_dict(trainer)
        self._refresh_teacher_weight()
        if self.curriculum is not None:
            self.curriculum.load_state_dict(checkpoint.state["curriculum"])
        if self.fusion is not None:
            self.fusion.load_state_dict(checkpoint.state["fusion"])
        judges = getattr(self.batches, "judged", None)
        if judges is not None:
            judges.load_state_dict(checkpoint.state.get("judges", {}))
        self.totals = Totals(**checkpoint.state["totals"])
        if self.monitor is not None and checkpoint.state.get("monitor"):
            self.monitor.load_state_dict(checkpoint.state["monitor"])
        if self.store is not None:
            self.store.truncate_to(int(checkpoint.state["stored"]))
        for tracker in self.trackers:
            tracker.truncate(checkpoint.step)
        if self.engine is not None:
            self.engine.sync(checkpoint.step)
        self._emit(Restored(step=checkpoint.step, path=checkpoint.path))
        return checkpoint.step

    def close(self) -> None:
        """Lets go of the files of the run directory."""
        for tracker in self.trackers:
            tracker.close()
        if self.store is not None:
            self.store.close()

    def _batch(self, step: int) -> Batch:
        try:
            batch = self.batches.batch(step)
        except Interruption as error:
            self._checkpoint(step)
            kept = f"{error.do} The run is kept as it was after step {step}; --resume goes on from there."
            raise type(error)(error.what, error.why, kept.strip()) from error
        if self.teacher is not None:
            batch.metrics.update(teacher_metrics(self.teacher))
        return batch

    def _refresh_teacher_weight(self) -> None:
        """A teacher that follows the student has another output layer now."""
        if self.teacher is not None and self.learner.teacher_weight is not None:
            self.learner.set_teacher_weight(self.teacher.output_weight())

    def _learn(self, batch: Batch) -> dict[str, Any]:
        began = time.perf_counter()
        learned = with_relabels(batch.trajectories, batch.scores, batch.extras, batch.relabels)
        empty = batch.metrics.get("batch/empty") and not batch.relabels
        metrics: dict[str, Any] = {**batch.metrics, **(self.learner.skip() if empty else self.learner.step(*learned))}
        metrics["time/learn"] = time.perf_counter() - began
        numbers = {k: v for k, v in metrics.items() if isinstance(v, int | float)}
        if self.curriculum is not None:
            look = getattr(self.curriculum, "observe_episodes", None)
            if look is not None:
                look(batch.trajectories, batch.scores)
            self.curriculum.observe(numbers)
        if self.fusion is not None:
            self.fusion.observe(numbers)
        return metrics

    def _report(self, done: int, metrics: dict[str, Any]) -> None:
        for tracker in self.trackers:
            tracker.log(done, metrics)
        if self.on_step is not None:
            self.on_step({"step": done, "steps": self.steps, **metrics})
        self._emit(StepEnd(step=done, metrics=metrics))

    def _checkpoint(self, done: int) -> None:
        if self.store is not None:
            self.store.flush()  # the checkpoint counts these episodes: they must be on disk before it is
        judges = getattr(self.batches, "judged", None)
        path = save_checkpoint(
            self.checkpoints,
            step=done,
            student=self.student.model,
            tokenizer=self.student.tokenizer,
            trainer_state=self.learner.state_dict() | {"teacher": teacher_state(self.teacher)},
            state={
                "config_hash": self.config_hash,
                "curriculum": self.curriculum.state_dict() if self.curriculum is not None else {},
                "fusion": self.fusion.state_dict() if self.fusion is not None else {},
                "judges": judges.state_dict() if judges is not None else {},
                "totals": self.totals.as_dict(),
                "monitor": self.monitor.state_dict() if self.monitor is not None else {},
                "stored": self.store.count() if self.store is not None else 0,
            },
            keep=self.keep,
        )
        self._emit(CheckpointSaved(step=done, path=path))

    def _emit(self, event: Any) -> None:
        if self.emit is not None:
            self.emit(event)
