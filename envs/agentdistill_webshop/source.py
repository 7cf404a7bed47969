"""WebShop as a source of tasks: the catalogue, the goals of each split, and the environments that play them."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from agentdistill.errors import DataError
from agentdistill.plugins.suggest import hint
from agentdistill.records import Task
from agentdistill_webshop.catalogue import Catalogue, open_catalogue
from agentdistill_webshop.config import WebshopConfig
from agentdistill_webshop.expert import best_score
from agentdistill_webshop.goals import Goal, GoalBook
from agentdistill_webshop.nouns import find_tagger

if TYPE_CHECKING:
    from agentdistill_webshop.env import WebshopEnv

NAME = "webshop"


class GoalTasks(Sequence[Task]):
    """The tasks of a split, each made when it is asked for: there may be millions.

    Args:
        book: the goals.
        kind: kind of goals, the first part of every key.
        split: the split.
    """

    def __init__(self, book: GoalBook, kind: str, split: str) -> None:
        self._book, self._kind, self._split = book, kind, split
        self.span = book.span(split)

    def __len__(self) -> int:
        return len(self.span)

    @overload
    def __getitem__(self, index: int) -> Task: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Task, ...]: ...

    def __getitem__(self, index: int | slice) -> Task | tuple[Task, ...]:
        if isinstance(index, slice):
            return tuple(self._task(number) for number in self.span[index])
        return self._task(self.span[index])

    def _task(self, number: int) -> Task:
        return Task(NAME, self._split, f"{self._kind}-{number:05d}", self._book.category(number))


class WebshopSource:
    """An `agentdistill.envs.base.EnvironmentSource`.

    Pickling keeps the configuration only; the catalogue is found again in the cache.

    Args:
        config: its options.
    """

    def __init__(self, config: WebshopConfig | None = None) -> None:
        self.config = config or WebshopConfig()
        self._tasks: dict[str, GoalTasks] = {}
        self._sums: dict[str, npt.NDArray[np.float64] | None] = {}

    def __reduce__(self) -> tuple[type[WebshopSource], tuple[WebshopConfig]]:
        return WebshopSource, (self.config,)

    @property
    def name(self) -> str:
        """The plugin's name."""
        return NAME

    @cached_property
    def catalogue(self) -> Catalogue:
        """The shop's products; built on first use and cached on disk.

        Raises:
            DataError: the files are missing, damaged or malformed.
            MissingExtraError: the extra `webshop` is not installed.
        """
        return open_catalogue(self.config)

    @cached_property
    def book(self) -> GoalBook:
        """All goals.

        Raises:
            DataError: the catalogue is missing, or has no goals of the configured kind.
        """
        return GoalBook(self.catalogue, self.config)

    @cached_property
    def tagger(self) -> tuple[str, Callable[[str], Sequence[str]]]:
        """Name and function of who tells the nouns of a title.

        Raises:
            ConfigError: the configured spaCy model is not there.
        """
        return find_tagger(self.config.nouns)

    def tasks(self, split: str) -> GoalTasks:
        """The tasks of a split in the order of their goals. A task's key is `human-00017`: kind and number of its goal.

        Raises:
            DataError: the split is unknown, or the catalogue has too few goals for it.
        """
        if split not in self._tasks:
            self._tasks[split] = GoalTasks(self.book, self.config.goals, split)
        return self._tasks[split]

    def draw(self, split: str, rng: np.random.Generator) -> Task:
        """Draws a task of a split; synthetic goals as often as their weights say.

        Args:
            split: the split.
            rng: draws it.

        Raises:
            DataError: as `tasks`.
        """
        tasks = self.tasks(split)
        if split not in self._sums:
            weights = self.book.weights(tasks.span)
            self._sums[split] = None if weights is None else np.cumsum(weights)
        sums = self._sums[split]
        if sums is None:
            return tasks[int(rng.integers(len(tasks)))]
        return tasks[min(int(np.searchsorted(sums, rng.uniform(0.0, sums[-1]), side="right")), len(tasks) - 1)]

    def task(self, key: str) -> Task:
        """The task with a key, in the configured split.

        Raises:
            DataError: there is none.
        """
        tasks = self.tasks(self.config.split)
        return tasks[self._number(self.config.split, key) - tasks.span.start]

    def goal(self, task: Task) -> Goal:
        """The goal behind a task.

        Raises:
            DataError: the split or the key is unknown.
        """
        return self.book.goal(self._number(task.split, task.key))

    def _number(self, split: str, key: str) -> int:
        tasks = self.tasks(split)
        kind, _, digits = key.rpartition("-")
        if kind == self.config.goals and digits.isdecimal() and int(digits) in tasks.span:
            return int(digits)
        near = hint(key, [task.key for task in tasks[:2000]])
        raise DataError(
            f"The split `{split}` has no goal `{key}`.{near}",
            f"It has {len(tasks)}, from `{tasks[0].key}` to `{tasks[-1].key}`.",
            "Choose one of them.",
        )

    def unreachable(self, split: str) -> list[str]:
        """Keys of a split's tasks whose own product, with the best options, is rewarded with less than 1.

        Human goals have some: an annotator wrote what the catalogue does not say.
        """
        span, tasks = self.tasks(split).span, self.tasks(split)
        nouns = self.tagger[1]
        short = [n for n in span if best_score(self.catalogue, self.book.goal(n), nouns).reward < 1.0]
        return [tasks[number - span.start].key for number in short]

    def make(self) -> WebshopEnv:
        """Makes one environment, to be used by one thread of one process."""
        from agentdistill_webshop.env import WebshopEnv

        return WebshopEnv(source=self)

    def provenance(self) -> dict[str, Any]:
        """Catalogue, goals, protocol, observation mode, who finds the nouns, and versions."""
        about = {key: value for key, value in self.catalogue.about.items() if key != "categories"}
        return {
            "environment": NAME,
            "catalogue": about,
            "goals": {"kind": self.config.goals, "count": len(self.book), "price_seed": self.config.seed},
            "protocol": self.config.protocol,
            "observation": self.config.observation,
            "success": "reward == 1",
            "nouns": self.tagger[0],
            "step_limit": self.config.step_limit,
            "versions": {name: _version(name) for name in ("bm25s", "PyStemmer", "thefuzz", "rapidfuzz")},
        }


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
