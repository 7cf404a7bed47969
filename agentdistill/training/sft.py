"""Imitation: a student trained on demonstrations, the cold start before distillation."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from agentdistill.config.resolved import ResolvedConfig
from agentdistill.errors import DataError
from agentdistill.models import count_parameters
from agentdistill.plugins.registry import PluginRegistry
from agentdistill.records import EpisodePlan, StopReason, Trajectory
from agentdistill.rollout.demonstrate import tokenize_demonstration
from agentdistill.rollout.episode import EpisodeRequest, RolloutSettings
from agentdistill.rollout.scripted import environment_expert, play_actions
from agentdistill.store import TrajectoryStore
from agentdistill.training.batches import SupervisedBatches
from agentdistill.training.candidates import imitable
from agentdistill.training.compared import ComparedBatches, compares_demonstrations
from agentdistill.training.plan import panel_lines
from agentdistill.training.run import Reporter, Run, RunResult

if TYPE_CHECKING:
    from agentdistill.learner.losses import DemonstrationLoss
    from agentdistill.training.assembly import Parts


def imitate(resolved: ResolvedConfig, registry: PluginRegistry, reporter: Reporter | None = None) -> RunResult:
    """Trains a student on `demonstrations.source` with cross-entropy over the demonstrator's turns.

    A [loss] that says what demonstrations count has its say (`agentdistill.learner.losses.DemonstrationLoss`), on
    failed episodes too if it asks for them. One that compares them with a teacher (`agentdistill.training.compared`)
    is minimised on their tokens, with the teacher's scores. Any other loss, and the teacher, have no part in it. A
    batch is `rollout.tasks_per_step` demonstrations; evaluation, checkpoints and resume are those of `Run`.

    Raises:
        DataError: there is no successful demonstration, or one cannot be shown with the run's context policy.
    """
    run = Run(resolved, registry, reporter)
    parts = run.parts
    config = resolved.config
    loss = _demonstration_loss(parts)
    rows = demonstration_rows(parts, failures=loss is not None and loss.failures)
    student = parts.student
    tokens = sum(len(row) for trajectory in rows for row in trajectory.rows)
    lines = [
        f"plan     imitate {len(rows):,} demonstrations ({tokens:,} tokens) · {config.rollout.tasks_per_step} x "
        f"{config.optim.steps} steps",
        f"student  {student.name} ({count_parameters(student.model, trainable=True):,} parameters to train)",
    ]
    if loss is not None and config.loss is not None:
        failed = sum(not trajectory.success for trajectory in rows)
        lines.insert(1, f"loss     {config.loss.type} ({failed:,} of the demonstrations are failures)")
    lines += panel_lines(run.panel)
    if config.loss is not None and compares_demonstrations(parts.registry.build("loss", config.loss, "loss")):
        resolved.require("teacher")
        compared = ComparedBatches(
            rows, config.rollout.tasks_per_step, config.run.seed, teacher=parts.teacher, request=parts.loss.request
        )
        lines.insert(
            1, f"loss     {config.loss.type}, beside the teacher {config.teacher.type if config.teacher else ''}"
        )
        return run.execute(parts.learner(run.directory, distil=True), compared, lines, on_policy=False, taught=True)
    batches = SupervisedBatches(rows, config.rollout.tasks_per_step, config.run.seed)
    learner = parts.learner(run.directory, distil=False, imitation=None if loss is None else loss.imitation)
    return run.execute(learner, batches, lines, on_policy=False)


def _demonstration_loss(parts: Parts) -> DemonstrationLoss | None:
    from agentdistill.learner.losses import DemonstrationLoss

    if parts.config.loss is None:
        return None
    loss = parts.registry.build("loss", parts.config.loss, "loss")
    return loss if isinstance(loss, DemonstrationLoss) else None


def demonstration_rows(parts: Parts, *, failures: bool = False) -> list[Trajectory]:
    """The tokenised demonstrations of a recipe: successful episodes of the store, or the environment's expert.

    Args:
        parts: the recipe's parts.
        failures: failed episodes too, but not those that were cut short or whose environment died.

    Raises:
        DataError: none of them is a success.
    """
    section = parts.config.demonstrations
    found = _expert_episodes(parts) if section.source == "expert" else TrajectoryStore(Path(section.source)).read()
    over = (StopReason.FAILURE, StopReason.ENV_LIMIT)
    chosen = (imitable(t) for t in found if t.success or (failures and t.stop in over))
    rows = [
        tokenize_demonstration(trajectory, parts.renderer, parts.context)
        for trajectory in itertools.islice(chosen, section.limit)
    ]
    if not any(trajectory.success for trajectory in rows):
        raise DataError(
            "There is no successful demonstration to imitate.",
            f"demonstrations.source is {section.source!r}.",
            "Collect some with `agentdistill collect`, or choose another split for the environment's expert.",
        )
    return rows


def _expert_episodes(parts: Parts) -> Iterator[Trajectory]:
    env = parts.config.env
    assert env is not None
    settings = RolloutSettings(
        max_steps=parts.config.demonstrations.max_steps or env.max_steps,
        max_new_tokens=parts.config.rollout.max_new_tokens,
        want_expert=True,
    )
    for task in parts.tasks:
        request = EpisodeRequest(task=task, plan=EpisodePlan(), sample=0, seed=0, policy_version=0)
        yield from play_actions(
            [request], source=parts.source, policy=environment_expert, settings=settings, context=parts.context
        )
