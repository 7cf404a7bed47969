"""TextArena as a source of tasks: a task is a game and a seed."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from agentdistill.errors import DataError
from agentdistill.plugins import PluginConfig
from agentdistill.plugins.suggest import hint
from agentdistill.records import Panel, Task

if TYPE_CHECKING:
    from agentdistill_textarena.env import TextArenaEnv

NAME = "textarena"
SPLITS = ("train", "valid", "test")
BLOCK = 1_000_000
"""Seeds of two splits are this far apart, so that splits never share one."""

Tasks = Annotated[int, Field(ge=0, le=BLOCK)]


class TextArenaConfig(PluginConfig):
    """TextArena's single-player games.

    Attributes:
        split: split that `reset` draws from when it is given no task.
        games: ids of TextArena; tasks take turns through them. Games that are the same whatever the seed, such as
            TowerOfHanoi, give the same task again and again: play such a game with one task.
        arguments: keyword arguments of `textarena.make`, for all games.
        train: number of tasks of the split "train".
        valid: number of tasks of the split "valid".
        test: number of tasks of the split "test".
        seed: the first seed; another one gives other tasks.
        won_reward: an episode is won when its final reward is at least this, without an invalid move at the end.
    """

    split: str = "train"
    games: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "GuessTheNumber-v0",
        "FrozenLake-v0-random",
        "Mastermind-v0",
    )
    arguments: dict[str, Any] = Field(default_factory=dict)
    train: Tasks = 3000
    valid: Tasks = 150
    test: Tasks = 150
    seed: Annotated[int, Field(ge=0)] = 0
    won_reward: float = 1.0


class TextArenaSource:
    """An `agentdistill.envs.base.EnvironmentSource`.

    Args:
        config: its options.
    """

    def __init__(self, config: TextArenaConfig | None = None) -> None:
        self.config = config or TextArenaConfig()

    @property
    def name(self) -> str:
        """The plugin's name."""
        return NAME

    def tasks(self, split: str) -> Sequence[Task]:
        """The games in turn, each task with a seed of its own.

        Raises:
            DataError: there is no such split.
        """
        if split not in SPLITS:
            raise DataError(
                f"TextArena has no split `{split}`.{hint(split, SPLITS)}",
                f"Its splits are ranges of seeds: {', '.join(SPLITS)}.",
                "Choose one of them.",
            )
        first = self.config.seed + BLOCK * SPLITS.index(split)
        games = self.config.games
        return [
            Task(NAME, split, f"{games[index % len(games)]}/{first + index}", games[index % len(games)], first + index)
            for index in range(int(getattr(self.config, split)))
        ]

    def make(self) -> TextArenaEnv:
        """Makes one environment, to be used by one thread of one process.

        Raises:
            MissingExtraError: `textarena` is not installed.
        """
        from agentdistill_textarena.env import TextArenaEnv

        return TextArenaEnv(source=self)

    def provenance(self) -> dict[str, Any]:
        """Games, arguments, the rule of success, and the version of TextArena."""
        return {
            "environment": NAME,
            "games": ", ".join(self.config.games),
            "arguments": json.dumps(self.config.arguments, sort_keys=True, default=str),
            "won_when": f"the final reward is at least {self.config.won_reward:g}",
            "versions": {"textarena": _version()},
        }


def _version() -> str | None:
    try:
        return importlib.metadata.version("textarena")
    except importlib.metadata.PackageNotFoundError:
        return None


def test_panel(source: TextArenaSource, config: PluginConfig) -> Panel:
    """The split "test"."""
    return Panel(f"{NAME}/test", tuple(source.tasks("test")), source.provenance())
