"""ALFWorld as a Gymnasium environment: text in, text out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentdistill.envs.task_env import TaskEnv
from agentdistill.errors import DataError, EnvironmentFailure
from agentdistill.records import Task
from agentdistill_alfworld.config import AlfworldConfig
from agentdistill_alfworld.engine import TextGame
from agentdistill_alfworld.experts import Advisor, make_advisor
from agentdistill_alfworld.games import Playable
from agentdistill_alfworld.source import AlfworldSource


class AlfworldEnv(TaskEnv[AlfworldSource, AlfworldConfig]):
    """One household, one task, in text.

    Reward is 1 in the step that reaches the goal, else 0; `terminated` is True then and only then, by the engine's
    own verdict. A command that is not admissible changes nothing and has `info["valid"]` False.

    Besides the keys of `agentdistill.envs.base.INFO_KEYS`, info has "task_key", "task_type" and "split".

    Args:
        source: where games come from; None makes one from `options`.
        render_mode: "ansi" or None.
        **options: fields of `AlfworldConfig`, e.g. `split="valid_seen"`, `engine="fast"`.

    Raises:
        ConfigError: an option is wrong.
    """

    title = "ALFWorld"
    source_class = AlfworldSource
    config_class = AlfworldConfig

    def __init__(self, *, source: AlfworldSource | None = None, render_mode: str | None = None, **options: Any) -> None:
        super().__init__(source=source, render_mode=render_mode, **options)
        self._real: Any = None
        self._loaded: Playable | None = None
        self._game: TextGame | None = None
        self._advisor: Advisor | None = None
        self._history: list[tuple[str, str, bool]] = []
        self._first = ""
        self._goal = ""
        self._wants_expert = False
        self._over = False
        self._task: Task | None = None

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Starts an episode.

        Args:
            seed: seed of `np_random`, which draws the task when none is given.
            options: "task", a `Task` or the key of one in the configured split; "expert", whether info shall have
                the expert's action at every step.

        Returns:
            The first observation, and info.

        Raises:
            ConfigError: an option is unknown.
            DataError: the task or its split is unknown, its data is missing, or its game file is damaged.
        """
        given = self._begin(seed, options)
        self._task = self._choose(given.get("task"))
        self._wants_expert = bool(given.get("expert", False))
        self._release_advisor()
        self._game = None  # a game that cannot be loaded must not leave the last one in play
        playable = self.source.game(self._task)
        try:
            self._game = self._load(playable)
        except DataError as error:
            what = f"The game `{self._task.key}` of the split `{self._task.split}` cannot be played."
            raise DataError(what, f"{error.what} {error.why}", error.do) from error
        self._first = self._game.reset()
        self._goal = self._first.rpartition("Your task is to: ")[2].strip().removesuffix(".")
        self._history = []
        self._over = False
        return self._first, self._info(True)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Sends a command.

        Args:
            action: the command; spaces around it do not matter.

        Returns:
            Observation, reward, terminated, truncated, info.

        Raises:
            EnvironmentFailure: there is no episode, or it is over.
        """
        game = self._playing()
        if self._over:
            raise EnvironmentFailure("The episode is over.", do="Call reset() before the next step().")
        observation = game.step(action)
        valid = game.valid
        self._history.append((action, observation, valid))
        if self._advisor is not None:
            self._advisor.record(action, observation, valid)
        won = game.won
        limit = self.config.step_limit
        truncated = not won and limit is not None and len(self._history) >= limit
        self._over = won or truncated
        return observation, float(won), won, truncated, self._info(valid)

    def expert_action(self) -> str | None:
        """What the configured expert would do now, whatever happened so far; None when the task is done.

        The expert may be asked in any episode, also in one that `reset` started without it.

        Raises:
            EnvironmentFailure: there is no episode.
            MissingExtraError: the expert needs an extra that is not installed.
        """
        if self._playing().won:
            return None
        if self._advisor is None:
            assert self._loaded is not None and self._task is not None
            advisor = make_advisor(self.config.expert, self._loaded, self.config.dialect, self._task.seed)
            advisor.start(self._first)
            for action, observation, valid in self._history:
                advisor.record(action, observation, valid)
            self._advisor = advisor
        return self._advisor.action()

    def render(self) -> str:
        """The last command and its observation, as text."""
        if not self._history:
            return self._first
        action, observation, _ = self._history[-1]
        return f"> {action}\n{observation}"

    def close(self) -> None:
        """Frees the engine and the expert. Closing twice is allowed."""
        self._release_advisor()
        self._game = self._loaded = None
        if self._real is not None:
            self._real.close()
            self._real = None

    def _load(self, playable: Playable) -> TextGame:
        if self.config.engine == "fast":
            from agentdistill_alfworld.fast import FastGame

            self._loaded = playable
            return FastGame(playable.facts())
        if self._real is None:
            from agentdistill_alfworld.real import RealGame

            self._real = RealGame()
        if self._loaded is not playable:
            self._loaded = None  # a load that fails leaves the engine with half of each
            self._real.load(playable.text(self.config.dialect))
            self._loaded = playable
        game: TextGame = self._real
        return game

    def _release_advisor(self) -> None:
        if self._advisor is not None:
            self._advisor.close()
            self._advisor = None

    def _playing(self) -> TextGame:
        if self._game is None:
            raise EnvironmentFailure("No episode has started.", do="Call reset() first.")
        return self._game

    def _info(self, valid: bool) -> dict[str, Any]:
        game, task = self._playing(), self._task
        assert task is not None
        won = game.won
        info: dict[str, Any] = {
            "admissible_actions": game.admissible(),
            "won": won,
            "score": float(won),
            "task": self._goal,
            "valid": valid,
            "task_key": task.key,
            "task_type": self._loaded.type if self._loaded else task.type,
            "split": task.split,
        }
        if self._wants_expert:
            info["expert_action"] = self.expert_action()
        return info
