"""TextWorld as a Gymnasium environment: text in, text out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import gymnasium
from pydantic import ValidationError

from agentdistill.envs.spaces import Utf8Text
from agentdistill.errors import ConfigError, DataError, EnvironmentFailure
from agentdistill.plugins.suggest import hint
from agentdistill.records import Task
from agentdistill_textworld.cache import game_folder
from agentdistill_textworld.config import TextWorldConfig
from agentdistill_textworld.engine import Adventure
from agentdistill_textworld.source import TextWorldSource

OPTIONS = ("task", "expert")
"""Keys of the `options` of `reset`."""

_KEPT_GAMES = 4


class TextWorldEnv(gymnasium.Env[str, str]):
    """One generated game, in text.

    `info["score"]` is the game's points; the reward of a step is their change, divided by the most there are.
    `terminated` is True when the game says that it is won or lost; `won` is its verdict. A command that was not carried
    out has `info["valid"]` False.

    Besides the keys of `agentdistill.envs.base.INFO_KEYS`, info has "max_score", "lost", "task_key", "task_type" and
    "split".

    Args:
        source: where games come from; None makes one from `options`.
        render_mode: "ansi" or None.
        **options: fields of `TextWorldConfig`, e.g. `games=("cooking",)`.

    Raises:
        ConfigError: an option is wrong.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(
        self, *, source: TextWorldSource | None = None, render_mode: str | None = None, **options: Any
    ) -> None:
        if source is not None and options:
            raise ConfigError(
                "TextWorldEnv takes a source or options, not both.", do="Put the options into the source."
            )
        self.source = source or TextWorldSource(_config(options))
        self.render_mode = render_mode
        self.action_space = Utf8Text()
        self.observation_space = Utf8Text()
        self._games: OrderedDict[str, Adventure] = OrderedDict()
        self._game: Adventure | None = None
        self._task: Task | None = None
        self._last = ("", "")
        self._steps = 0
        self._wants_expert = False
        self._over = False

    @property
    def config(self) -> TextWorldConfig:
        """The options of the environment."""
        return self.source.config

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Starts an episode. A game that was never played on this machine is made first, which takes seconds.

        Args:
            seed: seed of `np_random`, which draws the task when none is given. The games themselves know no chance.
            options: "task", a `Task` or the key of one in the configured split; "expert", whether info shall have
                the expert's action at every step.

        Returns:
            The first observation, and info.

        Raises:
            ConfigError: an option is unknown.
            DataError: the task or its split is unknown, or its game cannot be made.
            MissingExtraError: TextWorld is not installed.
        """
        super().reset(seed=seed)
        given = dict(options or {})
        for name in given:
            if name not in OPTIONS:
                raise ConfigError(
                    f"reset() has no option `{name}`.{hint(name, OPTIONS)}", f"Its options are {', '.join(OPTIONS)}."
                )
        self._game = None  # a game that cannot be loaded must not leave the last one in play
        task = self._choose(given.get("task"))
        self._wants_expert = bool(given.get("expert", False))
        game = self._load(task)
        observation = game.reset()
        self._game, self._task, self._steps, self._over = game, task, 0, False
        self._last = ("", observation)
        return observation, self._info(True)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Sends a command.

        Args:
            action: the command.

        Returns:
            Observation, reward, terminated, truncated, info.

        Raises:
            EnvironmentFailure: there is no episode, or it is over.
        """
        game = self._playing()
        if self._over:
            raise EnvironmentFailure("The episode is over.", do="Call reset() before the next step().")
        before = game.score
        observation = game.step(action)
        self._steps += 1
        self._last = (action, observation)
        terminated = game.won or game.lost
        limit = self.config.step_limit
        truncated = not terminated and limit is not None and self._steps >= limit
        self._over = terminated or truncated
        reward = (game.score - before) / game.max_score if game.max_score else float(game.won)
        return observation, reward, terminated, truncated, self._info(game.valid)

    def expert_action(self) -> str | None:
        """What TextWorld would do now, whatever happened so far; None at the end, or when all is lost.

        Raises:
            EnvironmentFailure: there is no episode.
        """
        return self._playing().expert_action()

    def render(self) -> str:
        """The last command and its observation, as text."""
        action, observation = self._last
        return f"> {action}\n{observation}" if action else observation

    def close(self) -> None:
        """Ends the interpreters. Closing twice is allowed."""
        self._game = None
        while self._games:
            self._games.popitem()[1].close()

    def _choose(self, task: Task | str | None) -> Task:
        if isinstance(task, Task):
            if task.env != self.source.name:
                raise DataError(f"The task `{task.key}` is of the environment `{task.env}`, not `{self.source.name}`.")
            return task
        if task is not None:
            return self.source.task(task)
        tasks = self.source.tasks(self.config.split)
        return tasks[int(self.np_random.integers(len(tasks)))]

    def _load(self, task: Task) -> Adventure:
        spec = self.source.spec(task)
        if spec.key not in self._games:
            self._games[spec.key] = Adventure(game_folder(spec))
            if len(self._games) > _KEPT_GAMES:
                self._games.popitem(last=False)[1].close()
        self._games.move_to_end(spec.key)
        return self._games[spec.key]

    def _playing(self) -> Adventure:
        if self._game is None:
            raise EnvironmentFailure("No episode has started.", do="Call reset() first.")
        return self._game

    def _info(self, valid: bool) -> dict[str, Any]:
        game, task = self._playing(), self._task
        assert task is not None
        info: dict[str, Any] = {
            "admissible_actions": game.admissible() if self.config.admissible else [],
            "won": game.won,
            "score": float(game.score),
            "task": game.objective,
            "valid": valid,
            "max_score": float(game.max_score),
            "lost": game.lost,
            "task_key": task.key,
            "task_type": task.type,
            "split": task.split,
        }
        if self._wants_expert:
            info["expert_action"] = game.expert_action()
        return info


def _config(options: Mapping[str, Any]) -> TextWorldConfig:
    """Validates constructor arguments as a recipe's section would be."""
    known = TextWorldConfig.model_fields
    for name in options:
        if name not in known:
            raise ConfigError(f"TextWorld has no option `{name}`.{hint(name, known)}", f"It has {', '.join(known)}.")
    try:
        return TextWorldConfig(**options)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'options'}: {e['msg']}" for e in error.errors())
        raise ConfigError("An option of TextWorld is wrong.", f"{problems}.", "Correct it.") from error
