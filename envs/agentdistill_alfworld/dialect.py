"""The text dialects of ALFWorld, and the upgrade of an old game file to the new one, in memory.

A game file carries its own PDDL domain and grammar, and with them its dialect. Files of the 2.1.1 release say
`put apple 1 in/on fridge 1` and "You arrive at loc 29."; files since 2.1.2 say `move apple 1 to fridge 1`, "You
arrive at fridge 1." and know `help`. The published numbers of different papers come from different dialects.
"""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from agentdistill.errors import DataError, import_extra

UNKNOWN_GOAL = "UNKNOWN GOAL"
"""What the shipped grammar says instead of a goal."""

_GOAL = re.compile(r'"Your task is to: ((?:[^"\\]|\\.)*)"')
_MOVE = re.compile(r"move (.+) to (.+)")
_PUT = re.compile(r"put (.+) in/on (.+)")


@dataclass(frozen=True, slots=True)
class GameText:
    """The three texts that make a game.

    Attributes:
        domain: PDDL domain.
        grammar: TextWorld's grammar of commands and observations, the goal sentence inside.
        problem: PDDL problem.
    """

    domain: str
    grammar: str
    problem: str

    @property
    def goal(self) -> str:
        """The sentence after "Your task is to: ", without its final dot.

        Raises:
            DataError: the grammar has no such sentence.
        """
        return json.loads(f'"{_raw_goal(self.grammar)}"').removesuffix(".")

    @property
    def dialect(self) -> str:
        """The dialect this game is written in, "move" or "put"."""
        return "move" if re.search(r'template\s*::\s*"move \{', self.grammar) else "put"


def _raw_goal(grammar: str) -> str:
    found = _GOAL.search(grammar)
    if not found:
        raise DataError(
            "A game's grammar has no goal.", 'No rule of it reads "Your task is to: ...".', "Restore the game file."
        )
    return found[1]


@lru_cache(maxsize=1)
def shipped() -> tuple[str, str]:
    """PDDL domain and grammar of the "move" dialect, as the `alfworld` package ships them.

    Raises:
        MissingExtraError: `alfworld` is not installed.
        DataError: its data files are missing.
    """
    # Importing alfworld makes folders; its data files can be found without.
    spec = importlib.util.find_spec("alfworld")
    if spec is None or not spec.submodule_search_locations:
        import_extra("alfworld", "alfworld", "The ALFWorld environment")
        raise DataError("The package `alfworld` has no folder on disk.", do="Reinstall it.")
    folder = Path(next(iter(spec.submodule_search_locations))) / "data"
    try:
        return (folder / "alfred.pddl").read_text(), (folder / "alfred.twl2").read_text()
    except OSError as error:
        raise DataError(
            f"The package `alfworld` lacks {error.filename}.",
            "Its PDDL domain and its grammar lie there.",
            "Reinstall it: pip install --force-reinstall 'alfworld>=0.4.2,<0.5'",
        ) from error


def upgrade(text: GameText) -> GameText:
    """The same game in the "move" dialect: domain and grammar as shipped, goal and problem as they are."""
    domain, grammar = shipped()
    return replace(text, domain=domain, grammar=grammar.replace(f"{UNKNOWN_GOAL}.", _raw_goal(text.grammar)))


def with_goal_blank(grammar: str) -> tuple[str, str]:
    """Splits a grammar into what all games of a dialect share and what is this game's own.

    Args:
        grammar: a game's grammar.

    Returns:
        The grammar with `UNKNOWN GOAL.` for its goal, and the right-hand side of its rule "task".
    """
    raw = _raw_goal(grammar)
    blank = _GOAL.sub(lambda _: f'"Your task is to: {UNKNOWN_GOAL}."', grammar, count=1)
    return blank, "Your task is to: " + str(json.loads(f'"{raw}"'))


def to_move(command: str) -> str:
    """The same command in the "move" dialect."""
    return _PUT.sub(r"move \1 to \2", command.strip()) if _PUT.fullmatch(command.strip()) else command


def to_put(command: str) -> str:
    """The same command in the "put" dialect."""
    return _MOVE.sub(r"put \1 in/on \2", command.strip()) if _MOVE.fullmatch(command.strip()) else command
