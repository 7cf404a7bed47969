"""Words that are not shown: each number stands for one, always the same. Who is told can say it, who is not must learn.

In the split "told", a word is shown below any number at all: who plays there learns to read, and nothing about numbers.
It is a plugin (`-p tests.identity.riddles`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from identity.words import WORDS, WordsEnv

from agentdistill import hookimpl
from agentdistill.plugins import PluginConfig
from agentdistill.records import Panel, Task


class RiddlesEnv(WordsEnv):
    """One word; the key of a task is the number and the word."""

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        task = dict(options or {})["task"]
        number, word = task.key.split()
        _, info = super().reset(seed=seed, options={**dict(options or {}), "task": word})
        return f"say number {number}" + (f"\n\n- say {word}" if task.split == "told" else ""), info


class RiddlesSource:
    """One task for each word, its type the number; or each word below each number."""

    name = "riddles"

    def __init__(self, config: PluginConfig) -> None:
        self.config = config

    def tasks(self, split: str) -> Sequence[Task]:
        pairs = [(n, word) for n in range(len(WORDS)) for word in (WORDS if split == "told" else WORDS[n : n + 1])]
        return [Task(self.name, split, f"{number} {word}", type=str(number)) for number, word in pairs]

    def make(self) -> RiddlesEnv:
        return RiddlesEnv()

    def provenance(self) -> Mapping[str, Any]:
        return {"words": list(WORDS)}


def panel(source: RiddlesSource, config: PluginConfig) -> Panel:
    return Panel("riddles/all", tuple(source.tasks("train")), source.provenance())


def told(source: RiddlesSource, config: PluginConfig) -> Panel:
    return Panel("riddles/told", tuple(source.tasks("told")), source.provenance())


@hookimpl
def agentdistill_register_environments(register):
    register("riddles", "tests.identity.riddles:RiddlesSource", summary="say the word that a number stands for")


@hookimpl
def agentdistill_register_benchmarks(register):
    register("riddles/all", "tests.identity.riddles:panel", summary="every word")
    register("riddles/told", "tests.identity.riddles:told", summary="every word below every number")
