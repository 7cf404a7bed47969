"""What a run will do, in a few lines a person reads before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentdistill.models import count_parameters
from agentdistill.records import EpisodePlan, Panel
from agentdistill.training.curriculum import Curriculum, Progress
from agentdistill.training.demonstrations import no_demonstrations

if TYPE_CHECKING:
    from agentdistill.records import Task
    from agentdistill.teachers.base import Teacher
    from agentdistill.teachers.selfcheck import SelfCheck
    from agentdistill.training.assembly import Parts


def describe(parts: Parts, panel: Panel | None, self_score: SelfCheck | None) -> list[str]:
    """The lines of the plan.

    Args:
        parts: the assembled run.
        panel: evaluation panel.
        self_score: the self-score check, None when it was not made.
    """
    config = parts.config
    assert config.env is not None and config.student is not None
    teacher = "no teacher"
    if parts.tutor is not None and config.teacher is not None:
        teacher = f"teacher {_teacher_name(parts.tutor, config.teacher.options())} ({config.teacher.type})"
    games = f"{config.env.type}/{config.env.split} ({len(parts.tasks):,} tasks)"
    trainable = count_parameters(parts.student.model, trainable=True)
    total = count_parameters(parts.student.model)
    size = _count(total) if trainable == total else f"{_count(trainable)} of {_count(total)} trained"
    check = "" if self_score is None else f" · self-score |Δ| {self_score.max_abs:.0e} ok"
    episodes = config.rollout.tasks_per_step * config.rollout.samples_per_task
    depth = depths(parts.curriculum, parts.tasks[0], config.optim.steps, config.env.max_steps)
    weights = " x ".join(weight.type for weight in config.step_weight + config.token_weight)
    lines = [
        f"plan     {episodes} episodes x {config.optim.steps} steps on {games} · {depth}",
        f"student  {config.student.model} ({size} parameters, {config.engine.type}) · {teacher}{check}",
        f"loss     {config.loss.type if config.loss else 'none'} · curriculum {config.curriculum.type} · "
        f"step weight {weights} · {config.optim.reduction} · lr {config.optim.lr:g}",
    ]
    if config.advantage is not None:
        terms = " + ".join(f"{r.weight:g} {r.type}" if r.weight != 1 else r.type for r in config.reward)
        joined = f" · fusion {config.fusion.type}" if config.fusion is not None else ""
        lines.append(f"rewards  {terms} · advantage {config.advantage.type}{joined}")
    if config.filter:
        lines.append(f"filters  {' · '.join(f.type for f in config.filter)}")
    return lines + panel_lines(panel)


def panel_lines(panel: Panel | None) -> list[str]:
    """The line about the evaluation panel, if there is one."""
    if panel is None:
        return []
    return [f"panel    {panel.name} ({len(panel.tasks)} tasks, sha {panel.hash[:8]}…), student alone, full depth"]


def depths(curriculum: Curriculum, task: Task, steps: int, max_steps: int) -> str:
    """How a curriculum's horizon moves over a run, found by asking it."""
    plans: list[EpisodePlan] = [
        curriculum.plan(task, Progress(step, steps, max_steps, no_demonstrations)) for step in range(steps)
    ]
    horizons = [plan.horizon if plan.horizon is not None else max_steps for plan in plans]
    first, last = horizons[0], horizons[-1]
    if first == last:
        return f"depth {first}"
    return f"depth {first} -> {last} by step {horizons.index(last)}"


def _teacher_name(teacher: Teacher, options: dict[str, object]) -> str:
    if members := getattr(teacher, "members", ()):
        return " + ".join(members)
    if label := getattr(teacher, "label", ""):
        return str(label)
    return str(options.get("model") or options.get("url") or "the environment's expert")


def _count(number: int) -> str:
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.2g} {unit}" if number < 10 * size else f"{number / size:.0f} {unit}"
    return str(number)
