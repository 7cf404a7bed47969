"""ScienceWorld as a source of tasks: the published splits, and the environments that play them."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING, Any

from agentdistill.errors import DataError
from agentdistill.plugins.suggest import hint
from agentdistill.records import Task
from agentdistill_scienceworld.config import ScienceWorldConfig
from agentdistill_scienceworld.variations import SIZES, SPLITS, variations

if TYPE_CHECKING:
    from agentdistill_scienceworld.env import ScienceWorldEnv

NAME = "scienceworld"


class ScienceWorldSource:
    """An `agentdistill.envs.base.EnvironmentSource`. Pickling keeps the configuration only.

    Args:
        config: its options.
    """

    def __init__(self, config: ScienceWorldConfig | None = None) -> None:
        self.config = config or ScienceWorldConfig()
        self._tasks: dict[str, tuple[Task, ...]] = {}

    def __reduce__(self) -> tuple[type[ScienceWorldSource], tuple[ScienceWorldConfig]]:
        return ScienceWorldSource, (self.config,)

    @property
    def name(self) -> str:
        """The plugin's name."""
        return NAME

    def tasks(self, split: str) -> tuple[Task, ...]:
        """The variations of a split: task after task in the simulator's order, narrowed to the configured tasks.

        Raises:
            DataError: there is no such split.
        """
        if split not in SPLITS:
            raise DataError(
                f"ScienceWorld has no split `{split}`.{hint(split, SPLITS)}",
                f"Its published splits are {', '.join(SPLITS)}.",
                "Choose one of them.",
            )
        if split not in self._tasks:
            wanted = self.config.tasks or tuple(SIZES)
            self._tasks[split] = tuple(
                Task(NAME, split, f"{name}/{number}", name)
                for name in SIZES
                if name in wanted
                for number in variations(name, split)
            )
        return self._tasks[split]

    def task(self, key: str) -> Task:
        """The task with a key, in the configured split.

        Raises:
            DataError: there is none.
        """
        tasks = self.tasks(self.config.split)
        for task in tasks:
            if task.key == key:
                return task
        keys = [task.key for task in tasks]
        raise DataError(
            f"The split `{self.config.split}` has no task `{key}`.{hint(key, keys)}",
            f"It has {len(keys)}, for example `{keys[0]}`.",
            "A key is the name of a task and the number of a variation.",
        )

    def make(self) -> ScienceWorldEnv:
        """Makes one environment. All environments of a process share one JVM."""
        from agentdistill_scienceworld.env import ScienceWorldEnv

        return ScienceWorldEnv(source=self)

    def provenance(self) -> dict[str, Any]:
        """Simulator version, simplifications, what is shown, and what counts as success."""
        config = self.config
        return {
            "environment": NAME,
            "simplification": config.simplification,
            "tasks": list(config.tasks) or "all 30",
            "observation": config.observation,
            "prompt": config.prompt,
            "admissible": config.admissible,
            "step_limit": config.step_limit,
            "success": "score 100; a negative score ends the episode",
            "versions": {"scienceworld": _version("scienceworld")},
        }


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
