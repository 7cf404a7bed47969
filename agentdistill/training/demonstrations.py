"""Where curricula get successful action lists from: the environment's expert, or episodes on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from agentdistill.records import Task
from agentdistill.store import TrajectoryStore

if TYPE_CHECKING:
    from agentdistill.envs.base import EnvironmentSource

Lookup = Callable[[Task], tuple[str, ...] | None]


def no_demonstrations(task: Task) -> tuple[str, ...] | None:
    """The lookup of a run that has none."""
    return None


def stored_demonstrations(path: Path) -> Lookup:
    """The shortest successful episode of each task in a store.

    Args:
        path: a trajectory store written by `agentdistill collect`.

    Returns:
        A lookup by task; None for tasks without a success.
    """
    best: dict[tuple[str, str, str], tuple[str, ...]] = {}
    for trajectory in TrajectoryStore(path).read():
        if not trajectory.success:
            continue
        identity = (trajectory.task.env, trajectory.task.split, trajectory.task.key)
        actions = tuple(step.action for step in trajectory.steps)
        if identity not in best or len(actions) < len(best[identity]):
            best[identity] = actions
    return lambda task: best.get((task.env, task.split, task.key))


class ExpertDemonstrations:
    """Plays the environment's expert once per task and remembers its actions."""

    def __init__(self, source: EnvironmentSource, max_steps: int) -> None:
        self._env = source.make()
        self._max_steps = max_steps
        self._found: dict[Task, tuple[str, ...] | None] = {}

    def __call__(self, task: Task) -> tuple[str, ...] | None:
        """The expert's winning actions, or None when it does not win within the step limit."""
        if task not in self._found:
            self._found[task] = self._play(task)
        return self._found[task]

    def _play(self, task: Task) -> tuple[str, ...] | None:
        _, info = self._env.reset(seed=task.seed, options={"task": task, "expert": True})
        actions: list[str] = []
        while len(actions) < self._max_steps:
            action = info.get("expert_action")
            if action is None:
                return None
            actions.append(action)
            _, _, terminated, truncated, info = self._env.step(action)
            if info["won"]:
                return tuple(actions)
            if terminated or truncated:
                return None
        return None


def demonstration_lookup(kind: str, needed: bool, source: EnvironmentSource, max_steps: int) -> Lookup:
    """Chooses the lookup of a run.

    Args:
        kind: "expert", or the path of a trajectory store.
        needed: whether the curriculum asks for demonstrations at all.
        source: the training environment.
        max_steps: longest demonstration.
    """
    if not needed:
        return no_demonstrations
    return ExpertDemonstrations(source, max_steps) if kind == "expert" else stored_demonstrations(Path(kind))
