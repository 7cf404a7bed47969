"""Tool use as a source of tasks: questions, and the environments that ask them."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentdistill.errors import DataError
from agentdistill.plugins.suggest import hint
from agentdistill.records import Task
from agentdistill_tools import formats, gym
from agentdistill_tools.config import ToolsConfig
from agentdistill_tools.questions import SPLITS, QuestionFile, Row, read_questions
from agentdistill_tools.toolbox import describe_tools

if TYPE_CHECKING:
    from agentdistill_tools.env import ToolsEnv

NAME = "tools"


@dataclass(frozen=True, slots=True)
class Generated:
    """A question of reasoning-gym: what `gym.item` and `gym.score` take."""

    family: str
    options: str
    first_seed: int
    index: int


class ToolsSource:
    """An `agentdistill.envs.base.EnvironmentSource`.

    Pickling keeps the configuration only; a file of questions is read again where it is unpickled.

    Args:
        config: its options.
    """

    def __init__(self, config: ToolsConfig | None = None) -> None:
        self.config = config or ToolsConfig()
        self._tasks: dict[str, tuple[Task, ...]] = {}
        self._file: QuestionFile | None = None
        self._rows: dict[tuple[str, str], Row] = {}

    def __reduce__(self) -> tuple[type[ToolsSource], tuple[ToolsConfig]]:
        return ToolsSource, (self.config,)

    @property
    def name(self) -> str:
        """The plugin's name."""
        return NAME

    def tasks(self, split: str) -> Sequence[Task]:
        """All tasks of a split. Families of reasoning-gym take turns; a file's questions keep its order.

        Raises:
            DataError: the split is unknown, or the file of questions is missing or damaged.
            ConfigError: a family does not exist or rejects its options.
            MissingExtraError: reasoning-gym is needed and not installed.
        """
        if split not in SPLITS:
            raise DataError(f"Tool use has no split `{split}`.{hint(split, SPLITS)}", f"It has {', '.join(SPLITS)}.")
        if split not in self._tasks:
            self._tasks[split] = tuple(self._from_file(split) if self.config.questions else self._made(split))
        return self._tasks[split]

    def _made(self, split: str) -> list[Task]:
        families = self.config.families
        for family in families:
            gym.dataset(family, self._options(family), gym.split_seed(self.config.seed, split))
        size = getattr(self.config.sizes, split)
        pairs = [(families[i % len(families)], i // len(families)) for i in range(size)]
        return [Task(NAME, split, f"{family}/{index}", family) for family, index in pairs]

    def _from_file(self, split: str) -> list[Task]:
        return [Task(NAME, split, row.key, row.type) for row in self.file().rows if row.split == split]

    def _options(self, family: str) -> str:
        return json.dumps(dict(self.config.family_options.get(family, {})), sort_keys=True)

    def file(self) -> QuestionFile:
        """The user's questions.

        Raises:
            DataError: there is no file, or it is damaged.
        """
        if self._file is None:
            if self.config.questions is None:
                raise DataError("There is no file of questions.", do="Name one with `env.questions`.")
            self._file = read_questions(Path(self.config.questions), skip_bad=self.config.skip_bad_rows)
            self._rows = {(row.split, row.key): row for row in self._file.rows}
        return self._file

    def question(self, task: Task) -> Generated | Row:
        """The question behind a task.

        Raises:
            DataError: the split has no such task.
        """
        if self.config.questions is not None:
            self.file()
            if row := self._rows.get((task.split, task.key)):
                return row
        elif task.split in SPLITS:
            family, _, index = task.key.rpartition("/")
            if family in self.config.families and index.isascii() and index.isdigit() and len(index) < 8:
                first = gym.split_seed(self.config.seed, task.split)
                return Generated(family, self._options(family), first, int(index))
        raise self._unknown(task)

    def task(self, key: str) -> Task:
        """The task with a key, in the configured split.

        Raises:
            DataError: there is none.
        """
        for task in self.tasks(self.config.split):
            if task.key == key:
                return task
        raise self._unknown(Task(NAME, self.config.split, key))

    def _unknown(self, task: Task) -> DataError:
        keys = [one.key for one in self.tasks(task.split)]
        return DataError(
            f"The split `{task.split}` has no question `{task.key[:100]}`.{hint(task.key[:100], keys[:5000])}",
            f"It has {len(keys)}" + (f", for example `{keys[0]}`." if keys else "."),
        )

    def make(self) -> ToolsEnv:
        """Makes one environment, to be used by one thread of one process."""
        from agentdistill_tools.env import ToolsEnv

        return ToolsEnv(source=self)

    def provenance(self) -> dict[str, Any]:
        """Questions, tools, sandbox, format, success rule and versions."""
        config = self.config
        if config.questions is not None:
            file = self.file()
            asked: dict[str, Any] = {"file": file.hash, "questions": len(file.rows), "bad_rows": file.bad}
        else:
            asked = {
                "families": list(config.families),
                "family_options": {name: dict(options) for name, options in config.family_options.items()},
                "sizes": config.sizes.model_dump(),
                "seed": config.seed,
                "reasoning-gym": _version("reasoning-gym"),
            }
        return {
            "environment": NAME,
            "questions": asked,
            "tools": [dict(part) for part in describe_tools(config)],
            "format": config.format,
            "format_version": formats.VERSION,
            "success": "the verifier's score is 1",
            "step_limit": config.step_limit,
            "output_chars": config.output_chars,
            "calls_per_turn": config.calls_per_turn,
        }


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
