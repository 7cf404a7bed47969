"""Is the environment deterministic? The same actions are played twice and everything shown is compared."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from agentdistill.envs.replay import Record, admissible_hash, restore
from agentdistill.hashing import digest

if TYPE_CHECKING:
    from agentdistill.envs.base import TextEnv
    from agentdistill.records import Task
    from agentdistill.training.assembly import Parts

TASKS = 5
ACTIONS = 4
SECONDS = 5.0
"""No further task is begun after this time."""


def check_replay(parts: Parts) -> str:
    """See `SelfTest.replay`. The actions are drawn from those on offer, the same in every run.

    Raises:
        EnvironmentFailure: a replay went another way; its first divergence is named.
    """
    chosen = [parts.tasks[index * len(parts.tasks) // TASKS] for index in range(min(TASKS, len(parts.tasks)))]
    began, replayed, actions = time.perf_counter(), 0, 0
    first, second = parts.source.make(), parts.source.make()
    try:
        for task in chosen:
            recorded = _wander(first, task, ACTIONS)
            restore(second, recorded)
            replayed, actions = replayed + 1, actions + len(recorded.actions)
            if time.perf_counter() - began > SECONDS:
                break
    finally:
        first.close()
        second.close()
    rest = f" ({len(chosen) - replayed} more would have taken too long)" if replayed < len(chosen) else ""
    return f"{replayed} tasks, {actions} actions: the same texts and commands again{rest}"


def _wander(env: TextEnv, task: Task, actions: int) -> Record:
    rng = random.Random(digest(["self-test", task.env, task.split, task.key]))
    observation, info = env.reset(seed=task.seed, options={"task": task})
    done: list[str] = []
    seen, offered = [observation], [admissible_hash(info["admissible_actions"])]
    while len(done) < actions:
        commands = list(info["admissible_actions"])
        done.append(rng.choice(commands) if commands else "look")
        observation, _, terminated, truncated, info = env.step(done[-1])
        seen.append(observation)
        offered.append(admissible_hash(info["admissible_actions"]))
        if terminated or truncated:
            break
    return Record(task, task.seed, tuple(done), tuple(seen), tuple(offered))
