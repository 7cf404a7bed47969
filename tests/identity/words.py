"""A real Gymnasium text environment that every method should solve: say the word that is shown.

It is a plugin (`-p tests.identity.words`), so that methods are tried in whole runs of ordinary recipes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from agentdistill import hookimpl
from agentdistill.envs.spaces import Utf8Text
from agentdistill.plugins import PluginConfig
from agentdistill.records import Panel, Task, Trajectory

WORDS = ("ax", "be", "do", "go", "hi", "it", "ox", "up")
TURNS = 2


class WordsEnv(gym.Env[str, str]):
    """Two words one after the other; the episode is won when both were said. Another word is valid, and wrong."""

    observation_space = Utf8Text()
    action_space = Utf8Text()

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        given = dict(options or {})
        task = given.get("task")
        key = task.key if isinstance(task, Task) else task
        self.words = str(key).split() if key else [str(word) for word in self.np_random.choice(WORDS, TURNS)]
        self.expert = bool(given.get("expert"))
        self.turn, self.right = 0, 0
        return f"say {self.words[0]}", self._info(True)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        good = action == self.words[self.turn]
        self.right += good
        self.turn += 1
        over = self.turn == len(self.words)
        shown = "done" if over else f"say {self.words[self.turn]}"
        return shown, good / len(self.words), over, False, self._info(action in WORDS)

    def _info(self, valid: bool) -> dict[str, Any]:
        over = self.turn == len(self.words)
        info: dict[str, Any] = {
            "admissible_actions": [] if over else list(WORDS),
            "won": over and self.right == len(self.words),
            "score": self.right / len(self.words),
            "task": "say",
            "valid": valid,
        }
        return {**info, "expert_action": None if over else self.words[self.turn]} if self.expert else info


class WordsSource:
    """All pairs of words."""

    name = "words"

    def __init__(self, config: PluginConfig) -> None:
        self.config = config

    def tasks(self, split: str) -> Sequence[Task]:
        pairs = [f"{first} {second}" for first in WORDS for second in WORDS]
        return [Task(self.name, split, key) for key in pairs]

    def make(self) -> WordsEnv:
        return WordsEnv()

    def provenance(self) -> Mapping[str, Any]:
        return {"words": list(WORDS)}


class Verdicts:
    """A reward that judges turns, for step weights that want a judge: a wrong word needed help."""

    annotates = frozenset({"intervention", "judge"})

    def __init__(self, config: PluginConfig) -> None:
        self.config = config

    def score(self, trajectories: Sequence[Trajectory]) -> list[np.ndarray]:
        result = []
        for trajectory in trajectories:
            for step in trajectory.steps:
                wrong = step.reward == 0
                step.info["annotations"] = {name: float(wrong) for name in sorted(self.annotates)}
            result.append(np.array([step.reward for step in trajectory.steps], dtype=np.float32))
        return result


def panel(source: WordsSource, config: PluginConfig) -> Panel:
    return Panel("words/all", tuple(source.tasks("train")), source.provenance())


@hookimpl
def agentdistill_register_environments(register):
    register("words", "tests.identity.words:WordsSource", summary="say the word that is shown")


@hookimpl
def agentdistill_register_rewards(register):
    register("verdicts", "tests.identity.words:Verdicts", summary="1 for all words, with a judge's annotations")


@hookimpl
def agentdistill_register_benchmarks(register):
    register("words/all", "tests.identity.words:panel", summary="all pairs")
