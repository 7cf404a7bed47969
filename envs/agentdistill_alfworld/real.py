"""The ALFWorld/TextWorld engine, with everything that does not depend on the state computed once.

State, applicable actions and the goal test are Fast Downward's; the words are TextWorld's grammar. What is cached:
the translation to SAS (on disk), the parsed grammar (per dialect), the initial facts (per game) and the command of
every operator (per game). The text is byte-identical to the stock engine's; the tests compare the two.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from agentdistill.errors import EnvironmentFailure, import_extra
from agentdistill_alfworld.dialect import GameText
from agentdistill_alfworld.translation import PARSER_LOCK

if TYPE_CHECKING:
    from agentdistill_alfworld.real_env import CachedPddlEnv


@lru_cache(maxsize=1)
def _engine() -> type[CachedPddlEnv]:
    import_extra("textworld", "alfworld", "The real ALFWorld engine")
    import_extra("fast_downward", "alfworld", "The real ALFWorld engine")
    with PARSER_LOCK:
        from agentdistill_alfworld.real_env import CachedPddlEnv
    return CachedPddlEnv


class RealGame:
    """Games played by the real engine, one after another.

    An instance owns a private copy of Fast Downward's library (33 MB on disk, loaded once), so keep it and `load`
    the next game into it. Instances are independent; one instance belongs to one thread.

    Args:
        text: the first game, or None.

    Raises:
        MissingExtraError: the extra `alfworld` is not installed.
        DataError: the game cannot be translated.
    """

    def __init__(self, text: GameText | None = None) -> None:
        self._env: CachedPddlEnv | None = _engine()()
        if text is not None:
            self.load(text)

    def load(self, text: GameText) -> None:
        """Takes another game; `reset` starts it.

        Args:
            text: domain, grammar and problem.

        Raises:
            DataError: the game cannot be translated.
        """
        self._open().load({"pddl_domain": text.domain, "grammar": text.grammar, "pddl_problem": text.problem})

    def reset(self) -> str:
        """Starts the game over and returns the first observation."""
        return str(self._open().reset().feedback)

    def step(self, command: str) -> str:
        """Sends one command and returns the answer; "Nothing happens." for one that is not admissible."""
        state, _, _ = self._open().step(command)
        return str(state.feedback)

    @property
    def won(self) -> bool:
        """The engine's goal test."""
        return bool(self._open().state["won"])

    @property
    def done(self) -> bool:
        """The engine ended the game."""
        return bool(self._open().state.get("done", False))

    @property
    def valid(self) -> bool:
        """The last command was admissible."""
        env = self._open()
        return env.prev_state is None or env._last_action is not None

    def admissible(self) -> list[str]:
        """Commands that the engine accepts now, sorted, without duplicates."""
        return list(self._open().state["admissible_commands"])

    def facts(self) -> list[Any]:
        """The facts of the current state as TextWorld propositions with readable names, sorted."""
        env = self._open()
        found = sorted(env._pddl_state.facts, key=lambda fact: (fact.name, fact.names))
        return [env._get_human_readable_fact(fact) for fact in found]

    def close(self) -> None:
        """Gives the library back. Closing twice is allowed."""
        if self._env is not None:
            self._env.unload()
            self._env = None

    def __del__(self) -> None:
        if not sys.is_finalizing() and getattr(self, "_env", None) is not None:
            self.close()

    def _open(self) -> CachedPddlEnv:
        if self._env is None:
            raise EnvironmentFailure("The game is closed.", do="Make a new one.")
        return self._env
