"""What a game is made from: kind, parameters, seed. Everything about a game follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentdistill.hashing import digest
from agentdistill_textworld.config import TextWorldConfig

SPLITS = {"train": 0, "dev": 10_000_000, "test": 20_000_000}
"""First seed of each split. A split has at most a million games, so no seed is in two."""

GENERATOR = 1
"""Version of the way games are made here; part of every key."""


@dataclass(frozen=True, slots=True)
class GameSpec:
    """A game before it is made.

    Attributes:
        kind: kind of game.
        parameters: what TextWorld's generator takes for this kind.
        seed: its seed.
        label: parameters as a short text, for the key.
    """

    kind: str
    parameters: Mapping[str, Any]
    seed: int
    label: str

    @property
    def key(self) -> str:
        """Identity of the game, the same on every machine."""
        return f"v{GENERATOR}/{self.kind}{self.label}/{self.seed}"

    def identity(self, version: str) -> str:
        """Hash of everything the game follows from, the version of TextWorld included."""
        return digest([GENERATOR, version, self.kind, dict(self.parameters), self.seed])


def split_specs(config: TextWorldConfig, split: str) -> list[GameSpec]:
    """The games of a split, the kinds in turn.

    Args:
        config: kinds, sizes and options.
        split: a key of `SPLITS`.
    """
    kinds = [(kind, *_parameters(config, kind, split)) for kind in config.games]
    count = getattr(config, split)
    return [
        GameSpec(kind, parameters, SPLITS[split] + index, label)
        for index in range(count)
        for kind, parameters, label in [kinds[index % len(kinds)]]
    ]


def _parameters(config: TextWorldConfig, kind: str, split: str) -> tuple[dict[str, Any], str]:
    parameters: dict[str, Any] = getattr(config, kind).model_dump()
    label = "".join(f"-{_word(name, value)}" for name, value in parameters.items() if value is not False)
    if kind == "simple":
        parameters["test"] = split == "test"
    if kind == "cooking":
        parameters |= {"recipe_seed": 0, "split": {"train": "train", "dev": "valid", "test": "test"}[split]}
    return parameters, label


def _word(name: str, value: Any) -> str:
    return name if value is True else str(value) if isinstance(value, str) else f"{name}{value}"
