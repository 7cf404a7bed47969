"""TextArena as a Gymnasium environment: text in, text out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
from pydantic import ValidationError

from agentdistill.envs.spaces import Utf8Text
from agentdistill.errors import ConfigError, DataError
from agentdistill.plugins.suggest import hint
from agentdistill.records import Task
from agentdistill_textarena.engine import Game, Turn
from agentdistill_textarena.moves import MOVES
from agentdistill_textarena.source import TextArenaConfig, TextArenaSource

OPTIONS = ("task", "expert")
"""Keys of the `options` of `reset`."""


class TextArenaEnv(gymnasium.Env[str, str]):
    """One single-player game of TextArena at a time.

    An observation is what the game says since the last move, without TextArena's own echo of the conversation: that
    is the context policy's business. The reward is TextArena's final reward, in the last step. A second move against
    the rules in a row ends most games, as in TextArena.

    Args:
        source: where games come from; None makes one from `options`.
        **options: fields of `TextArenaConfig`, e.g. `games=["Mastermind-v0"]`.

    Raises:
        ConfigError: an option is wrong.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(self, *, source: TextArenaSource | None = None, **options: Any) -> None:
        if source is None:
            try:
                source = TextArenaSource(TextArenaConfig(**options))
            except ValidationError as error:
                told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
                raise ConfigError("TextArenaEnv got an option that cannot be used.", f"{told}.") from error
        self.source = source
        self.observation_space, self.action_space = Utf8Text(), Utf8Text()
        self._game: Game | None = None
        self._wants_expert = False

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Starts a game.

        Args:
            seed: seed of `np_random`, which draws the task when none is given.
            options: "task", a `Task` or the key of one in the configured split; "expert", whether info shall have the
                expert's action at every step (None in games without one).

        Raises:
            ConfigError: an option is unknown, or there is no such game.
            DataError: the task is unknown, or the game cannot be played here.
        """
        super().reset(seed=seed)
        given = dict(options or {})
        for name in given:
            if name not in OPTIONS:
                raise ConfigError(f"reset has no option `{name}`.{hint(name, OPTIONS)}", "", "Leave it out.")
        task = self._task(given.get("task"))
        self._wants_expert = bool(given.get("expert"))
        game = task.type or task.key.rpartition("/")[0]
        self._game = Game(game, self.source.config.arguments, task.seed)
        return self._game.first, self._info(self._game, Turn(""))

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Makes a move.

        Raises:
            ConfigError: there is no game.
        """
        if self._game is None:
            raise ConfigError("There is no game.", "step was called before reset.", "Call reset first.")
        turn = self._game.act(action)
        won = self._won(turn)
        terminated = turn.over and (won or not turn.limit)
        return turn.text, turn.reward, terminated, turn.over and not terminated, self._info(self._game, turn)

    def _won(self, turn: Turn) -> bool:
        return turn.over and turn.accepted and turn.reward >= self.source.config.won_reward

    def _task(self, wanted: Any) -> Task:
        if isinstance(wanted, Task):
            return wanted
        tasks = self.source.tasks(self.source.config.split)
        if wanted is None and tasks:
            return tasks[int(self.np_random.integers(len(tasks)))]
        for task in tasks:
            if task.key == wanted:
                return task
        raise DataError(
            f"The split `{self.source.config.split}` of TextArena has no task `{wanted}`.",
            f"It has {len(tasks)} tasks.",
            "A key is GAME/SEED, for example Mastermind-v0/2.",
        )

    def _info(self, game: Game, turn: Turn) -> dict[str, Any]:
        moves = None if turn.over else MOVES.get(game.family)
        info: dict[str, Any] = {
            "admissible_actions": moves.listed(game.original) if moves else [],
            "won": self._won(turn),
            "score": turn.reward,
            "task": game.rules,
            "valid": turn.accepted,
        }
        if self._wants_expert:
            info["expert_action"] = moves.advice(game.original) if moves else None
        return info
