"""Imitation: a student trained on demonstrations, the cold start before distillation."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from agentdistill.config.resolved import ResolvedConfig
from agentdistill.errors import DataError
from agentdistill.models import count_parameters
from agentdistill.plugins.registry import PluginRegistry
from agentdistill.records import Actor, EpisodePlan, LossRole, Trajectory
from agentdistill.rollout.demonstrate import tokenize_demonstration
from agentdistill.rollout.episode import EpisodeRequest, RolloutSettings
from agentdistill.rollout.scripted import environment_expert, play_actions
from agentdistill.store import TrajectoryStore
from agentdistill.training.batches import SupervisedBatches
from agentdistill.training.plan import panel_lines
from agentdistill.training.run import Reporter, Run, RunResult

if TYPE_CHECKING:
    from agentdistill.training.assembly import Parts


def imitate(resolved: ResolvedConfig, registry: PluginRegistry, reporter: Reporter | None = None) -> RunResult:
    """Trains a student on `demonstrations.source` with cross-entropy over the demonstrator's turns.

    A batch is `rollout.tasks_per_step` demonstrations; evaluation, checkpoints and resume are those of `Run`.

    Raises:
        DataError: there is no successful demonstration, or one cannot be shown with the run's context policy.
    """
    run = Run(resolved, registry, reporter)
    parts = run.parts
    config = resolved.config
    rows = demonstration_rows(parts)
    student = parts.student
    tokens = sum(len(row) for trajectory in rows for row in trajectory.rows)
    lines = [
        f"plan     imitate {len(rows):,} demonstrations ({tokens:,} tokens) · {config.rollout.tasks_per_step} x "
        f"{config.optim.steps} steps",
        f"student  {student.name} ({count_parameters(student.model, trainable=True):,} parameters to train)",
    ]
    lines += panel_lines(run.panel)
    batches = SupervisedBatches(rows, config.rollout.tasks_per_step, config.run.seed)
    return run.execute(parts.learner(run.directory, distil=False), batches, lines, on_policy=False)


def demonstration_rows(parts: Parts) -> list[Trajectory]:
    """The tokenised demonstrations of a recipe: successful episodes of the store, or the environment's expert.

    Raises:
        DataError: none of them is a success.
    """
    section = parts.config.demonstrations
    found = _expert_episodes(parts) if section.source == "expert" else TrajectoryStore(Path(section.source)).read()
    chosen = (_as_demonstration(t) for t in found if t.success)
    rows = [
        tokenize_demonstration(trajectory, parts.renderer, parts.context)
        for trajectory in itertools.islice(chosen, section.limit)
    ]
    if not rows:
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


def _as_demonstration(trajectory: Trajectory) -> Trajectory:
    """Turns a model's own winning episode into something to imitate; an expert's is one already."""
    steps = [
        dataclasses.replace(step, loss_role=LossRole.IMITATE)
        if step.actor is not Actor.EXPERT and step.loss_role is LossRole.DISTILL
        else step
        for step in trajectory.steps
    ]
    return dataclasses.replace(trajectory, steps=steps)
