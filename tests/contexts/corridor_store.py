"""Expert episodes of the corridors in a store, and tasks to ask about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rollout.toy_world import CorridorSource

from agentdistill.plugins import PluginRegistry
from agentdistill.records import Task, Trajectory
from agentdistill.rollout.episode import EpisodeRequest, RolloutSettings
from agentdistill.rollout.scripted import environment_expert, play_actions
from agentdistill.store import TrajectoryStore

REGISTRY = PluginRegistry.load()


def expert_episodes(split: str = "train", context: Any = None) -> list[Trajectory]:
    """One episode of each of the five corridors, played by the environment's expert."""
    source = CorridorSource()
    return play_actions(
        [EpisodeRequest(task) for task in source.tasks(split)],
        source=source,
        policy=environment_expert,
        settings=RolloutSettings(max_steps=20, want_expert=True),
        context=context,
    )


def write_store(folder: Path, trajectories: list[Trajectory]) -> str:
    with TrajectoryStore(folder) as store:
        for trajectory in trajectories:
            store.append(trajectory)
    return str(folder)


def task(key: str, split: str = "valid") -> Task:
    return Task("corridor", split, key)
