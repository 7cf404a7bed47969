"""A run: from a recipe to a trained student with a result one can believe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from agentdistill.atomic import write_json, write_text
from agentdistill.config.load import load_config
from agentdistill.config.resolved import ResolvedConfig
from agentdistill.diagnostics import Alert, Monitor
from agentdistill.errors import ConfigError
from agentdistill.evaluate.compare import Comparison, compare
from agentdistill.evaluate.result import EvalResult, load_result, save_result
from agentdistill.models import LoadedModel
from agentdistill.plugins.registry import PluginRegistry
from agentdistill.records import Panel, ScoreRequest, Trajectory
from agentdistill.store import TrajectoryStore
from agentdistill.training.assembly import Parts
from agentdistill.training.batches import BatchSource, OnPolicyBatches, SupervisedBatches
from agentdistill.training.checkpoint import latest_checkpoint
from agentdistill.training.evaluation import evaluate_parts, panel_of
from agentdistill.training.events import EpisodeEnd, EvalEnd, RunEnd, RunError, RunStart
from agentdistill.training.lineage import lineage_lines, write_lineage
from agentdistill.training.loop import TrainingLoop
from agentdistill.training.offline import offline_batches
from agentdistill.training.plan import describe
from agentdistill.training.preflight import preflight

if TYPE_CHECKING:
    from agentdistill.learner.learner import Learner


class Reporter(Protocol):
    """Shows a person what happens (see `agentdistill.cli.progress`)."""

    def plan(self, lines: Sequence[str]) -> None:
        """What the run will do."""
        ...

    def step(self, metrics: Mapping[str, Any]) -> None:
        """An optimiser step is done."""
        ...

    def eval(self, result: EvalResult) -> None:
        """An evaluation is done."""
        ...

    def warn(self, alert: Alert) -> None:
        """Something seems to go wrong; each warning comes once."""
        ...


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run leaves.

    Attributes:
        directory: the run's folder.
        before: evaluation before training, when a panel is configured.
        after: evaluation after it.
        comparison: the two, paired by task.
        totals: environment steps, sampled tokens, teacher tokens, episodes.
    """

    directory: Path
    before: EvalResult | None
    after: EvalResult | None
    comparison: Comparison | None
    totals: Mapping[str, float]


class Run:
    """A run of a resolved configuration.

    Attributes:
        resolved: the configuration.
        registry: the loaded plugins.
        parts: environment, models, engine, teacher and so on, made on first use.
        directory: the run's folder.
    """

    def __init__(self, resolved: ResolvedConfig, registry: PluginRegistry, reporter: Reporter | None = None) -> None:
        self.resolved = resolved
        self.registry = registry
        self.reporter = reporter
        self.parts = Parts(resolved, registry)
        section = resolved.config.run
        self.directory = Path(section.directory) if section.directory else Path("runs") / section.name

    @classmethod
    def from_recipe(cls, *recipes: str, overrides: Mapping[str, Any] | None = None, plugins: Sequence[str] = ()) -> Run:
        """Loads recipes as `agentdistill train` does.

        Args:
            *recipes: names or paths, merged left to right.
            overrides: values by dotted path, e.g. {"optim.steps": 50}.
            plugins: modules to load as plugins.
        """
        registry = PluginRegistry.load(plugins)
        return cls(load_config(recipes, overrides or {}, registry=registry, plugins=plugins), registry)

    @property
    def student(self) -> LoadedModel:
        """The model that learns."""
        return self.parts.student

    @cached_property
    def panel(self) -> Panel | None:
        """The evaluation panel, if one is configured."""
        return panel_of(self.parts) if self.resolved.config.eval.panel is not None else None

    def train(self) -> RunResult:
        """Distils: plays, scores, learns, evaluates before and after. Resumes when `run.resume` is set.

        Raises:
            AgentDistillError: the configuration, data, models or directory stop the run.
        """
        parts = self.parts
        config = self.resolved.config
        # Who has no rewards to learn from learns from a teacher's scores, or from turns that somebody else writes.
        scored = config.advantage is None and not parts.curriculum.needs & {"teacher", "expert"}
        self.resolved.require("env", "student", *(("teacher", "loss") if scored else ()))
        taught = config.loss is not None
        learner = parts.learner(self.directory, distil=True)
        if config.rollout.source is not None:
            return self._train_offline(learner, Path(config.rollout.source))
        batches = OnPolicyBatches(
            source=parts.source,
            tasks=parts.tasks,
            engine=parts.engine,
            renderer=parts.renderer,
            context=parts.context,
            settings=parts.settings,
            curriculum=parts.curriculum,
            teacher=parts.teacher if taught else None,
            request=parts.request if taught else ScoreRequest(),
            lookup=parts.demonstrations,
            seed=config.run.seed,
            total_steps=config.optim.steps,
            tasks_per_step=config.rollout.tasks_per_step,
            samples_per_task=config.rollout.samples_per_task,
            guides=parts.guides,
            recordings=parts.recordings,
            online=parts.online,
            judged=parts.judges,
            on_episode=self._on_episode(learner),
        )
        panel = self.panel
        check, checked = preflight(parts)
        lines = [*describe(parts, panel, check), *checked]
        return self.execute(learner, batches, lines, on_policy=True)

    def _train_offline(self, learner: Learner, source: Path) -> RunResult:
        batches, more = offline_batches(self.parts, source)
        check, checked = preflight(self.parts)
        lines = [*describe(self.parts, self.panel, check), *more, *checked]
        return self.execute(learner, batches, lines, on_policy=False, taught=True)

    def execute(
        self, learner: Learner, batches: BatchSource, lines: Sequence[str], *, on_policy: bool, taught: bool = False
    ) -> RunResult:
        """Trains from any batch source, with evaluation, checkpoints and results.

        Args:
            learner: the learner.
            batches: gives each step its batch.
            lines: what the run will do, for people.
            on_policy: the batches are the student's own play: episodes are stored and the curriculum is kept.
            taught: a teacher scores them although they are not.
        """
        config = self.resolved.config
        self._prepare_directory(config.run.resume)
        parts = self.parts
        tracker = config.tracker or {"type": "jsonl"}
        loop = TrainingLoop(
            learner=learner,
            batches=batches,
            student=parts.student,
            steps=config.optim.steps,
            directory=self.directory,
            config_hash=self.resolved.hash,
            engine=parts.engine,
            curriculum=parts.curriculum if on_policy else None,
            fusion=learner.fusion,
            teacher=parts.tutor if on_policy or taught else None,
            store=TrajectoryStore(self.directory / "episodes") if on_policy else None,
            trackers=[self.registry.build("tracker", tracker, "tracker", directory=self.directory)],
            checkpoint_every=config.run.checkpoint_every,
            keep=config.run.keep_checkpoints,
            eval_every=config.eval.every if config.eval.panel else 0,
            evaluate=self.evaluate_student,
            on_step=self.reporter.step if self.reporter else None,
            emit=self.registry.emit,
            monitor=(monitor := Monitor()),
            on_alert=lambda alert: self._warn(alert, monitor),
        )
        if config.teacher is not None and loop.teacher is not None:
            warned = lineage_lines(parts.student, loop.teacher, config.teacher.type, offline=not on_policy)
            lines = [*lines, *warned]
        if self.reporter:
            self.reporter.plan(lines)
        self.registry.emit(RunStart(self.resolved, self.directory, tuple(lines), parts.provenance()))
        try:
            before = self._evaluate_once(0) if not config.run.resume else self._stored(0) or self._evaluate_once(0)
            start = loop.restore(latest_checkpoint(loop.checkpoints, self.resolved.hash)) if config.run.resume else 0
            loop.run(start)
            parts.student.model.save_pretrained(self.directory / "student")
            parts.student.tokenizer.save_pretrained(self.directory / "student")
            imitated = batches.trajectories if isinstance(batches, SupervisedBatches) else ()
            write_lineage(self.directory / "student", parts.student, imitated)
            after = self._evaluate_once(config.optim.steps)
        except BaseException as error:
            self.registry.emit(RunError(learner.steps_done, error, self.directory))
            raise
        finally:
            loop.close()
            parts.close()
            if loop.store is not None:
                loop.store.close()
        comparison = compare(before, after) if before is not None and after is not None else None
        results = {
            "before": before.to_dict() if before else None,
            "after": after.to_dict() if after else None,
            "totals": loop.totals.as_dict(),
            "provenance": parts.provenance(),
        }
        write_json(self.directory / "results.json", results)
        self.registry.emit(RunEnd(config.optim.steps, self.directory, results))
        return RunResult(self.directory, before, after, comparison, loop.totals.as_dict())

    def evaluate_student(self, step: int) -> EvalResult:
        """Evaluates the student as it is now over the configured panel, and writes the result.

        Args:
            step: optimiser steps done, for the file's name.

        Raises:
            ConfigError: no panel is configured.
        """

        def on_episode(trajectory: Trajectory) -> None:
            self.registry.emit(EpisodeEnd(trajectory, step, evaluation=True))

        result = evaluate_parts(self.parts, on_episode, panel=self.panel, step=step)
        save_result(result, self._evaluation_file(step))
        if self.reporter:
            self.reporter.eval(result)
        self.registry.emit(EvalEnd(step, result.panel, result))
        return result

    def _warn(self, alert: Alert, monitor: Monitor) -> None:
        write_json(self.directory / "warnings.json", [asdict(raised) for raised in monitor.raised])
        if self.reporter:
            self.reporter.warn(alert)

    def _evaluate_once(self, step: int) -> EvalResult | None:
        return self.evaluate_student(step) if self.panel is not None else None

    def _evaluation_file(self, step: int) -> Path:
        return self.directory / "evaluations" / f"step-{step:06d}.json"

    def _stored(self, step: int) -> EvalResult | None:
        path = self._evaluation_file(step)
        return load_result(path) if path.is_file() else None

    def _on_episode(self, learner: Learner) -> Any:
        def emit(trajectory: Trajectory) -> None:
            self.registry.emit(EpisodeEnd(trajectory, learner.steps_done))

        return emit

    def _prepare_directory(self, resume: bool) -> None:
        if not resume and self.directory.exists() and any(self.directory.iterdir()):
            raise ConfigError(
                f"The run directory {self.directory} exists already.",
                "A run never overwrites another one's results.",
                "Choose another with --output, go on with it by --resume, or delete it.",
            )
        if resume and not self.directory.is_dir():
            raise ConfigError(
                f"There is nothing to resume in {self.directory}.",
                "The directory does not exist.",
                "Leave out --resume.",
            )
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "evaluations").mkdir(exist_ok=True)
        if not resume:
            write_text(self.directory / "config.toml", self.resolved.to_toml())
