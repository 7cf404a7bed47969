"""Where curricula get whole recorded episodes from: the environment's expert, or episodes on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from agentdistill.records import Actor, Recording, Task, Trajectory
from agentdistill.store import TrajectoryStore
from agentdistill.training.curriculum import no_recordings

if TYPE_CHECKING:
    from agentdistill.envs.base import EnvironmentSource

RecordingLookup = Callable[[Task], Recording | None]


def recording_of(trajectory: Trajectory) -> Recording:
    """What a trajectory recorded: its words, its actions, what was seen before each, what was on offer."""
    steps = trajectory.steps
    listed = all("admissible_actions" in step.info for step in steps)
    return Recording(
        goal=str(trajectory.meta.get("goal", "")),
        actions=tuple(str(step.info.get("sent", step.action)) for step in steps),
        observations=tuple(step.observation for step in steps),
        responses=tuple(step.response for step in steps),
        admissible=tuple(tuple(step.info["admissible_actions"]) for step in steps) if listed else (),
        expert=bool(steps) and all(step.actor is Actor.EXPERT for step in steps),
    )


def stored_recordings(path: Path) -> RecordingLookup:
    """The shortest successful episode of each task in a store.

    Args:
        path: a trajectory store, as `agentdistill collect` writes them from an expert's or a model's play.

    Returns:
        A lookup by task; None for tasks without a success.
    """
    best: dict[tuple[str, str, str], Recording] = {}
    for trajectory in TrajectoryStore(path).read():
        if not trajectory.success:
            continue
        identity = (trajectory.task.env, trajectory.task.split, trajectory.task.key)
        if identity not in best or len(trajectory.steps) < len(best[identity].actions):
            best[identity] = recording_of(trajectory)
    return lambda task: best.get((task.env, task.split, task.key))


class ExpertRecordings:
    """Plays the environment's expert once per task and remembers the episode."""

    def __init__(self, source: EnvironmentSource, max_steps: int) -> None:
        self._env = source.make()
        self._max_steps = max_steps
        self._found: dict[Task, Recording | None] = {}

    def __call__(self, task: Task) -> Recording | None:
        """The expert's winning episode, or None when it does not win within the step limit."""
        if task not in self._found:
            self._found[task] = self._play(task)
        return self._found[task]

    def _play(self, task: Task) -> Recording | None:
        observation, info = self._env.reset(seed=task.seed, options={"task": task, "expert": True})
        goal = str(info.get("task", ""))
        actions: list[str] = []
        seen, offered = [observation], [tuple(info.get("admissible_actions") or ())]
        while len(actions) < self._max_steps:
            action = info.get("expert_action")
            if action is None:
                return None
            actions.append(action)
            observation, _, terminated, truncated, info = self._env.step(action)
            seen.append(observation)
            offered.append(tuple(info.get("admissible_actions") or ()))
            if info["won"]:
                return Recording(goal, tuple(actions), tuple(seen), (), tuple(offered), expert=True)
            if terminated or truncated:
                return None
        return None


def recording_lookup(kind: str, needed: bool, source: EnvironmentSource, max_steps: int) -> RecordingLookup:
    """Chooses the lookup of a run.

    Args:
        kind: "expert", or the path of a trajectory store.
        needed: whether the curriculum asks for recordings at all.
        source: the training environment; an expert is played in it, once for every task that is asked for.
        max_steps: longest recording.
    """
    if not needed:
        return no_recordings
    return ExpertRecordings(source, max_steps) if kind == "expert" else stored_recordings(Path(kind))
