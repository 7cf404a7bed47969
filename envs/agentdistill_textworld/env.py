"""TextWorld as a Gymnasium environment: text in, text out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from agentdistill.envs.task_env import TaskEnv
from agentdistill.errors import EnvironmentFailure
from agentdistill.records import Task
from agentdistill_textworld.cache import game_folder
from agentdistill_textworld.config import TextWorldConfig
from agentdistill_textworld.engine import Adventure
from agentdistill_textworld.source import TextWorldSource

_KEPT_GAMES = 4


class TextWorldEnv(TaskEnv[TextWorldSource, TextWorldConfig]):
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

    title = "TextWorld"
    source_class = TextWorldSource
    config_class = TextWorldConfig

    def __init__(
        self, *, source: TextWorldSource | None = None, render_mode: str | None = None, **options: Any
    ) -> None:
        super().__init__(source=source, render_mode=render_mode, **options)
        self._games: OrderedDict[str, Adventure] = OrderedDict()
        self._game: Adventure | None = None
        self._task: Task | None = None
        self._last = ("", "")
        self._steps = 0
        self._wants_expert = False
        self._over = False

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
        given = self._begin(seed, options)
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
