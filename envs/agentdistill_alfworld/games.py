"""The games behind tasks: real ones from disk and generated ones, behind one small interface."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

from agentdistill.errors import DataError
from agentdistill.hashing import digest
from agentdistill_alfworld.data import GameFile
from agentdistill_alfworld.dialect import GameText, upgrade
from agentdistill_alfworld.game import TASK_TYPES, Game, parse_problem

GENERATOR = 1
"""Version of the generator: part of every generated key, raised when the same seed gives other games."""

GENERATED = {"generated-train": "train", "generated-seen": "seen", "generated-unseen": "unseen"}
"""Generated splits, and the field of `GeneratedConfig` with their size."""

_KEY = re.compile(r"v(\d+)/seed(\d+)/(\d+)")

Dialect = Literal["move", "put"]


class Playable(Protocol):
    """One game, ready for either engine."""

    @property
    def key(self) -> str:
        """Identity inside its split, the same on every machine."""
        ...

    @property
    def type(self) -> str:
        """One of the six task types."""
        ...

    def text(self, dialect: Dialect) -> GameText:
        """What the real engine plays.

        Raises:
            DataError: the file is damaged, or is not written in that dialect and cannot be.
        """
        ...

    def facts(self) -> Game:
        """What the fast engine plays."""
        ...

    def parameters(self) -> dict[str, str]:
        """The task in ALFRED's terms, for ALFWorld's own expert."""
        ...


class DiskGame:
    """A game of a real split.

    Args:
        file: where it is.
    """

    def __init__(self, file: GameFile) -> None:
        self._file = file
        self.key = file.key
        self.type = file.type

    @cached_property
    def _text(self) -> GameText:
        return self._file.text()

    def text(self, dialect: Dialect) -> GameText:
        """See `Playable.text`."""
        if self._text.dialect == dialect:
            return self._text
        if dialect == "move":
            return upgrade(self._text)
        raise DataError(
            f"The game {self.key} cannot be played in the dialect `put`.",
            "Its file is of a release after 2.1.1, which is written in the dialect `move`.",
            'Use dialect = "move", or the game files of the 2.1.1 release.',
        )

    @cached_property
    def _facts(self) -> Game:
        return parse_problem(self._text.problem, self._text.goal, self.key)

    def facts(self) -> Game:
        """See `Playable.facts`."""
        return self._facts

    def parameters(self) -> dict[str, str]:
        """See `Playable.parameters`."""
        return self._file.parameters()


class MadeGame:
    """A generated game, made when first asked for.

    Args:
        split: one of `GENERATED`.
        seed: seed of the generator.
        index: number of the game.
    """

    def __init__(self, split: str, seed: int, index: int) -> None:
        self._where = (split, seed, index)
        self.key = made_key(seed, index)
        self.type = made_type(index)

    @cached_property
    def _facts(self) -> Game:
        from agentdistill_alfworld.generate import generate_one

        return generate_one(*self._where).game

    def text(self, dialect: Dialect) -> GameText:
        """See `Playable.text`."""
        from agentdistill_alfworld.generate import game_text

        if dialect != "move":
            raise DataError(
                f"The game {self.key} cannot be played in the dialect `{dialect}`.",
                "Generated games are written in the dialect `move`.",
                'Use dialect = "move", or a real split.',
            )
        return game_text(self._facts)

    def facts(self) -> Game:
        """See `Playable.facts`."""
        return self._facts

    def parameters(self) -> dict[str, str]:
        """See `Playable.parameters`."""
        game = self._facts
        lamp = game.task_type == "look_at_obj_in_light"
        return {
            "object_target": game.goal_object,
            "parent_target": "" if lamp else game.goal_receptacle,
            "toggle_target": game.goal_receptacle if lamp else "",
            "mrecep_target": "",
            "object_sliced": "",
        }


@dataclass(frozen=True, slots=True)
class MadeSplit:
    """A split of generated games. Listing it makes no game.

    Attributes:
        name: one of `GENERATED`.
        count: number of games.
        seed: seed of the generator.
    """

    name: str
    count: int
    seed: int

    def keys(self) -> Sequence[tuple[str, str]]:
        """(key, task type) of every game."""
        return [(made_key(self.seed, index), made_type(index)) for index in range(self.count)]

    def game(self, key: str) -> MadeGame | None:
        """The game of a key, or None when it is not of this split."""
        match = _KEY.fullmatch(key)
        if not match or key != made_key(self.seed, int(match[3])) or int(match[3]) >= self.count:
            return None
        return MadeGame(self.name, self.seed, int(match[3]))

    def provenance(self) -> dict[str, Any]:
        """Plain data for results."""
        described = {"split": self.name, "kind": "generated", "games": self.count, "seed": self.seed}
        return {**described, "generator": GENERATOR, "hash": digest({**described, "generator": GENERATOR})[:16]}


def made_key(seed: int, index: int) -> str:
    """Key of a generated game: generator version, seed and index say all about it."""
    return f"v{GENERATOR}/seed{seed}/{index:06d}"


def made_type(index: int) -> str:
    """Task type of a generated game: the types take turns."""
    return TASK_TYPES[index % len(TASK_TYPES)]
