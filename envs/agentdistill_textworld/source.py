"""TextWorld as a source of tasks: generated splits, and the environments that play them."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING, Any

from agentdistill.errors import DataError
from agentdistill.plugins.suggest import hint
from agentdistill.records import Task
from agentdistill_textworld.config import TextWorldConfig
from agentdistill_textworld.specs import GENERATOR, SPLITS, GameSpec, split_specs

if TYPE_CHECKING:
    from agentdistill_textworld.env import TextWorldEnv

NAME = "textworld"


class TextWorldSource:
    """An `agentdistill.envs.base.EnvironmentSource`. Pickling keeps the configuration only.

    Listing tasks makes no games: a game is made when it is first played.

    Args:
        config: its options.
    """

    def __init__(self, config: TextWorldConfig | None = None) -> None:
        self.config = config or TextWorldConfig()
        self._specs: dict[str, dict[str, GameSpec]] = {}
        self._tasks: dict[str, tuple[Task, ...]] = {}

    def __reduce__(self) -> tuple[type[TextWorldSource], tuple[TextWorldConfig]]:
        return TextWorldSource, (self.config,)

    @property
    def name(self) -> str:
        """The plugin's name."""
        return NAME

    def tasks(self, split: str) -> tuple[Task, ...]:
        """The games of a split, the configured kinds in turn.

        Raises:
            DataError: there is no such split.
        """
        if split not in SPLITS:
            raise DataError(
                f"TextWorld has no split `{split}`.{hint(split, SPLITS)}",
                f"Its splits are {', '.join(SPLITS)}.",
                "Choose one of them.",
            )
        if split not in self._tasks:
            specs = self._specs[split] = {spec.key: spec for spec in split_specs(self.config, split)}
            self._tasks[split] = tuple(Task(NAME, split, spec.key, spec.kind) for spec in specs.values())
        return self._tasks[split]

    def task(self, key: str) -> Task:
        """The task with a key, in the configured split.

        Raises:
            DataError: there is none.
        """
        split = self.config.split
        spec = self.spec(Task(NAME, split, key))
        return Task(NAME, split, key, spec.kind)

    def spec(self, task: Task) -> GameSpec:
        """What the game of a task is made from.

        Raises:
            DataError: the split or the key is unknown with these options.
        """
        tasks = self.tasks(task.split)
        found = self._specs[task.split].get(task.key)
        if found is None:
            near = [other.key for other in tasks[:5000]]
            raise DataError(
                f"The split `{task.split}` has no game `{task.key}`.{hint(task.key, near)}",
                f"With these options it has {len(tasks)}, for example `{near[0]}`; a key names its game's options.",
                "Use the options with which the task was listed.",
            )
        return found

    def make(self) -> TextWorldEnv:
        """Makes one environment, to be used by one thread."""
        from agentdistill_textworld.env import TextWorldEnv

        return TextWorldEnv(source=self)

    def provenance(self) -> dict[str, Any]:
        """Generator, options of the games, versions."""
        config = self.config
        return {
            "environment": NAME,
            "generator": GENERATOR,
            "games": {kind: getattr(config, kind).model_dump() for kind in config.games},
            "splits": {
                split: {"games": getattr(config, split), "first seed": first} for split, first in SPLITS.items()
            },
            "admissible": config.admissible,
            "step_limit": config.step_limit,
            "success": "the game's own verdict",
            "versions": {name: _version(name) for name in ("textworld", "jericho")},
        }


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
