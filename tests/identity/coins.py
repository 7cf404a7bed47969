"""Two words, and one of them is right: nobody can know which, but who hears that one was wrong says the other.

Every task is another coin. It is a plugin (`-p tests.identity.coins`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from identity.words import WORDS, WordsEnv

from agentdistill import hookimpl
from agentdistill.hashing import digest
from agentdistill.plugins import PluginConfig
from agentdistill.records import Task

COPIES = {"told": 64, "asked": 8}
"""Coins of each number, by split."""


class CoinsEnv(WordsEnv):
    """One word of two; the key of a task is its number and the side that is right."""

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        number, side = (int(part) for part in dict(options or {})["task"].key.split()[:2])
        pair = WORDS[2 * (number % 4)], WORDS[2 * (number % 4) + 1]
        _, info = super().reset(seed=seed, options={**dict(options or {}), "task": pair[side]})
        return f"say {number} {pair[0]} {pair[1]}", info


class CoinsSource:
    """Coins of eight numbers."""

    name = "coins"

    def __init__(self, config: PluginConfig) -> None:
        self.config = config

    def tasks(self, split: str) -> Sequence[Task]:
        coins = [(number, copy) for number in range(len(WORDS)) for copy in range(COPIES[split])]
        sides = [int(digest([split, number, copy])[0], 16) % 2 for number, copy in coins]
        return [Task(self.name, split, f"{n} {side} {c}") for (n, c), side in zip(coins, sides, strict=True)]

    def make(self) -> CoinsEnv:
        return CoinsEnv()

    def provenance(self) -> Mapping[str, Any]:
        return {"words": list(WORDS)}


@hookimpl
def agentdistill_register_environments(register):
    register("coins", "tests.identity.coins:CoinsSource", summary="say the right one of two words")
