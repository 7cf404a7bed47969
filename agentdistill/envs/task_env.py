"""What text environments over a source of tasks have in common: options, spaces, and how an episode gets its task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import gymnasium
from pydantic import ValidationError

from agentdistill.envs.base import EnvironmentSource
from agentdistill.envs.spaces import Utf8Text
from agentdistill.errors import ConfigError, DataError
from agentdistill.plugins import PluginConfig
from agentdistill.plugins.suggest import hint
from agentdistill.records import Task

OPTIONS = ("task", "expert")
"""Keys of the `options` of `reset`."""


class TaskSource(EnvironmentSource, Protocol):
    """A source that was constructed with a configuration that names a split, and finds a task by its key there."""

    @property
    def config(self) -> Any:
        """Its options, with a field `split`."""
        ...

    def task(self, key: str) -> Task:
        """The task with a key, in the configured split.

        Raises:
            DataError: there is none.
        """
        ...


Source = TypeVar("Source", bound=TaskSource)
Config = TypeVar("Config", bound=PluginConfig)


class TaskEnv(gymnasium.Env[str, str], Generic[Source, Config]):
    """Base of a text environment whose episodes are tasks of a source.

    A subclass names its `title`, `source_class` and `config_class`, and writes `reset` (beginning with `_begin` and
    `_choose`), `step`, `render` and `close`.

    Args:
        source: where tasks come from; None makes one from `options`.
        render_mode: "ansi" or None.
        **options: fields of the configuration, e.g. `split="test"`.

    Attributes:
        title: what messages call the environment.
        source_class: makes a source from a configuration.
        config_class: the configuration.

    Raises:
        ConfigError: an option is wrong.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 - as Gymnasium declares it

    title: ClassVar[str]
    source_class: ClassVar[type[Any]]
    config_class: ClassVar[type[PluginConfig]]

    def __init__(self, *, source: Source | None = None, render_mode: str | None = None, **options: Any) -> None:
        if source is not None and options:
            raise ConfigError(
                f"{type(self).__name__} takes a source or options, not both.", do="Put the options into the source."
            )
        self.source: Source = source or self.source_class(self._validated(options))
        self.render_mode = render_mode
        self.action_space = Utf8Text()
        self.observation_space = Utf8Text()

    @property
    def config(self) -> Config:
        """The options of the environment."""
        config: Config = self.source.config
        return config

    def _begin(self, seed: int | None, options: Mapping[str, Any] | None) -> dict[str, Any]:
        """Seeds `np_random`, and gives the options of `reset` after a look at their names.

        Raises:
            ConfigError: an option is unknown.
        """
        super().reset(seed=seed)
        given = dict(options or {})
        for name in given:
            if name not in OPTIONS:
                raise ConfigError(
                    f"reset() has no option `{name}`.{hint(name, OPTIONS)}", f"Its options are {', '.join(OPTIONS)}."
                )
        return given

    def _choose(self, task: Task | str | None) -> Task:
        """The task of an episode: the one given, the one with the key given, or one drawn.

        Raises:
            DataError: it is of another environment, or the configured split has none with that key.
        """
        if isinstance(task, Task):
            if task.env != self.source.name:
                raise DataError(f"The task `{task.key}` is of the environment `{task.env}`, not `{self.source.name}`.")
            return task
        return self._draw() if task is None else self.source.task(task)

    def _draw(self) -> Task:
        """A task of the configured split, with `np_random`; every one is as likely."""
        tasks = self.source.tasks(self.source.config.split)
        return tasks[int(self.np_random.integers(len(tasks)))]

    def _validated(self, options: Mapping[str, Any]) -> PluginConfig:
        """Validates constructor arguments as a recipe's section would be."""
        known = self.config_class.model_fields
        for name in options:
            if name not in known:
                title = self.title[0].upper() + self.title[1:]
                raise ConfigError(f"{title} has no option `{name}`.{hint(name, known)}", f"It has {', '.join(known)}.")
        try:
            return self.config_class(**options)
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'options'}: {e['msg']}" for e in error.errors())
            raise ConfigError(f"An option of {self.title} is wrong.", f"{problems}.", "Correct it.") from error
