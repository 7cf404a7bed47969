"""ALFWorld as a source of tasks: the splits, the games behind the tasks, and the environments that play them."""

from __future__ import annotations

import importlib.metadata
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agentdistill.errors import DataError
from agentdistill.plugins.suggest import hint
from agentdistill.records import Task
from agentdistill_alfworld.config import AlfworldConfig
from agentdistill_alfworld.data import PUBLISHED, DiskSplit, GameFile, data_root, disk_split
from agentdistill_alfworld.games import GENERATED, DiskGame, MadeSplit, Playable

if TYPE_CHECKING:
    from agentdistill_alfworld.env import AlfworldEnv

NAME = "alfworld"
SPLITS = (*PUBLISHED, *GENERATED)
"""Every split that can be asked for."""

_KEPT_GAMES = 512


class AlfworldSource:
    """An `agentdistill.envs.base.EnvironmentSource`.

    Pickling keeps the configuration only; data is found again where it is unpickled.

    Args:
        config: its options.
    """

    def __init__(self, config: AlfworldConfig | None = None) -> None:
        self.config = config or AlfworldConfig()
        self._splits: dict[str, DiskSplit | MadeSplit] = {}
        self._tasks: dict[str, tuple[Task, ...]] = {}
        self._files: dict[str, dict[str, GameFile]] = {}
        self._games: OrderedDict[tuple[str, str], Playable] = OrderedDict()

    def __reduce__(self) -> tuple[type[AlfworldSource], tuple[AlfworldConfig]]:
        return AlfworldSource, (self.config,)

    @property
    def name(self) -> str:
        """The plugin's name."""
        return NAME

    def resolve(self, split: str) -> str:
        """The split that a name means: "train" is "generated-train" where $ALFWORLD_DATA is not set.

        Raises:
            DataError: there is no such split.
        """
        if split not in SPLITS:
            raise DataError(
                f"ALFWorld has no split `{split}`.{hint(split, SPLITS)}",
                f"Real splits: {', '.join(PUBLISHED)}; generated ones: {', '.join(GENERATED)}.",
                "Choose one of them.",
            )
        return "generated-train" if split == "train" and data_root() is None else split

    def tasks(self, split: str) -> Sequence[Task]:
        """All tasks of a split, sorted by key.

        Raises:
            DataError: the split is unknown, or real and not there.
        """
        name = self.resolve(split)
        if name not in self._tasks:
            found = self.split(name)
            pairs = found.keys() if isinstance(found, MadeSplit) else [(game.key, game.type) for game in found.games]
            self._tasks[name] = tuple(Task(NAME, name, key, kind) for key, kind in pairs)
        return self._tasks[name]

    def split(self, split: str) -> DiskSplit | MadeSplit:
        """The data behind a split.

        Raises:
            DataError: the split is unknown, or real and not there.
        """
        name = self.resolve(split)
        if name not in self._splits:
            try:
                self._splits[name] = self._find(name)
            except DataError as error:
                stand_in = {"valid_seen": "generated-seen", "valid_unseen": "generated-unseen"}.get(name)
                if data_root() is not None or stand_in is None:
                    raise
                do = f'{error.do} Generated games of the same kind need no data: split = "{stand_in}".'
                raise DataError(error.what, error.why, do) from error
        return self._splits[name]

    def _find(self, name: str) -> DiskSplit | MadeSplit:
        if name in GENERATED:
            made = self.config.generated
            return MadeSplit(name, getattr(made, GENERATED[name]), made.seed)
        return disk_split(name)

    def task(self, key: str) -> Task:
        """The task with a key, in the configured split.

        Raises:
            DataError: there is none.
        """
        tasks = self.tasks(self.config.split)
        for task in tasks:
            if task.key == key:
                return task
        raise self._unknown(self.resolve(self.config.split), key)

    def game(self, task: Task) -> Playable:
        """The game behind a task. Recently used games are kept.

        Raises:
            DataError: the split or the key is unknown.
        """
        where = (self.resolve(task.split), task.key)
        if where in self._games:
            self._games.move_to_end(where)
            return self._games[where]
        found = self.split(where[0])
        if isinstance(found, MadeSplit):
            game: Playable | None = found.game(task.key)
        else:
            if where[0] not in self._files:
                self._files[where[0]] = {file.key: file for file in found.games}
            file = self._files[where[0]].get(task.key)
            game = DiskGame(file) if file else None
        if game is None:
            raise self._unknown(*where)
        self._games[where] = game
        if len(self._games) > _KEPT_GAMES:
            self._games.popitem(last=False)
        return game

    def _unknown(self, split: str, key: str) -> DataError:
        keys = [task.key for task in self.tasks(split)]
        found = self._splits[split]
        why = found.corrupt.get(key, "") if isinstance(found, DiskSplit) else ""
        return DataError(
            f"The split `{split}` has no game `{key}`.{hint(key, keys)}",
            why or f"It has {len(keys)} games, for example `{keys[0]}`.",
            "List them with: agentdistill envs list",
        )

    def make(self) -> AlfworldEnv:
        """Makes one environment, to be used by one thread of one process."""
        from agentdistill_alfworld.env import AlfworldEnv

        return AlfworldEnv(source=self)

    def provenance(self) -> dict[str, Any]:
        """Engine, dialect, versions, and the data of every split used so far (of the configured one otherwise)."""
        used = sorted(self._splits) or [self.resolve(self.config.split)]
        return {
            "environment": NAME,
            "engine": self.config.engine,
            "dialect": self.config.dialect,
            "expert": self.config.expert,
            "step_limit": self.config.step_limit,
            "splits": {name: self.split(name).provenance() for name in used},
            "versions": {name: _version(name) for name in ("alfworld", "textworld", "fast-downward-textworld")},
        }


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
