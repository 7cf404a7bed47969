"""One game of TextArena, with the random numbers of its own that TextArena takes from Python's global generators."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from agentdistill.errors import ConfigError, DataError, import_extra
from agentdistill.plugins.suggest import hint

LONGEST = 2000
"""Longest action that a game gets to see: some turn digits into numbers however many there are."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What a game answered.

    Attributes:
        text: its messages, without the echo of the player's own.
        over: the game has ended.
        limit: it ended because the turns were used up.
        accepted: the move followed the rules.
        reward: final reward; 0 while the game goes on.
        reason: why it ended.
    """

    text: str
    over: bool = False
    limit: bool = False
    accepted: bool = True
    reward: float = 0.0
    reason: str = ""


class Game:
    """A game being played.

    Args:
        name: id of TextArena, without "-raw".
        arguments: keyword arguments of `textarena.make`.
        seed: seed of the game.

    Attributes:
        family: the id up to its first hyphen.
        rules: what TextArena tells the player at the start.
        original: TextArena's environment.

    Raises:
        ConfigError: there is no such game, or it has more than one player.
        DataError: the game needs data or a service that is not here.
        MissingExtraError: `textarena` is not installed.
    """

    def __init__(self, name: str, arguments: dict[str, Any], seed: int) -> None:
        self.family = name.partition("-")[0]
        self._random = random.Random(seed).getstate()
        self._numpy: Any = np.random.RandomState(seed % 2**32).get_state()
        self.original = self._make(name, arguments)
        try:
            with self._own_dice():
                self.original.reset(num_players=1, seed=seed)
        except AssertionError as error:
            raise ConfigError(
                f"The game `{name}` of TextArena is not for one player.", f"{error}.", "Choose a single-player game."
            ) from error
        messages = self._messages()
        self.rules = messages[0].strip() if messages else ""
        self.first = "\n".join(messages).strip()

    def _make(self, name: str, arguments: dict[str, Any]) -> Any:
        import_extra("textarena", "textarena", "TextArena's games")
        from textarena.envs.registration import ENV_REGISTRY, make

        raw = f"{name}-raw"
        if raw not in ENV_REGISTRY:
            known = [key.removesuffix("-raw") for key in ENV_REGISTRY if key.endswith("-raw")]
            raise ConfigError(
                f"TextArena has no game `{name}`.{hint(name, known)}",
                "",
                "Write an id such as Mastermind-v0-hard, without a suffix for its wrappers.",
            )
        try:
            # Games that look for word lists complain on both streams before they fail.
            with self._own_dice(), contextlib.redirect_stderr(io.StringIO()):
                return make(raw, **arguments)
        except TypeError as error:
            raise ConfigError(f"The game `{name}` cannot be made.", f"{error}.", "Correct env.arguments.") from error
        except SyntaxError as error:
            raise DataError(
                f"The game `{name}` of TextArena cannot be played here.",
                f"Its code is written for a newer Python: {error}.",
                "Run under Python 3.12 or later, or choose another game.",
            ) from error
        except Exception as error:
            told = " ".join(str(error).replace("*", " ").split())[:160]
            raise DataError(
                f"The game `{name}` of TextArena cannot be played here.",
                f"{type(error).__name__}: {told}.",
                "It needs data or a service that does not come with TextArena; choose another game.",
            ) from error

    @contextlib.contextmanager
    def _own_dice(self) -> Iterator[None]:
        """TextArena draws from the global generators: they hold this game's state inside and nobody's outside."""
        outside, outside_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
        random.setstate(self._random)
        np.random.set_state(self._numpy)  # noqa: NPY002
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                yield
        finally:
            self._random, self._numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
            random.setstate(outside)
            np.random.set_state(outside_numpy)  # noqa: NPY002

    @property
    def state(self) -> Any:
        """TextArena's own state of the game."""
        return self.original.state

    def _messages(self) -> list[str]:
        from textarena.core import ObservationType

        _, observations = self.original.get_observation()
        return [str(text) for _, text, kind in observations if kind != ObservationType.PLAYER_ACTION]

    def act(self, action: str) -> Turn:
        """Makes a move. One that is longer than any game's language reaches the game as an empty one."""
        with self._own_dice():
            over, _ = self.original.step(action if len(action) <= LONGEST else "")
        text = "\n".join(self._messages()).strip()
        told = self.state.game_info[0]
        accepted = self.state.error_count == 0 and not told["invalid_move"]
        if not over:
            return Turn(text, accepted=accepted)
        reason = str(told.get("reason") or "")
        limit = self.state.max_turns is not None and self.state.turn >= self.state.max_turns
        reward = (self.state.rewards or {}).get(0, 0.0)
        # Some games put the reason of an invalid move where its reward belongs.
        number = float(reward) if isinstance(reward, int | float) else 0.0
        text = "\n".join(part for part in (text, reason) if part)
        return Turn(text, True, limit and "limit" in reason.lower(), accepted, number, reason)
