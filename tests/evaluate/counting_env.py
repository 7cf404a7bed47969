"""A tiny text game that a tiny model can play, win by luck, misplay and break."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium

from agentdistill.envs.spaces import Utf8Text
from agentdistill.records import Task


class CountingEnv(gymnasium.Env[str, str]):
    """Say the right one of "up" and "down" three times: "up" in even games, "down" in odd ones.

    Anything else is not accepted, two wrong ones more than right ones end the game lost, and games named "broken" die.
    """

    def __init__(self) -> None:
        self.observation_space, self.action_space = Utf8Text(), Utf8Text()
        self.count, self.key, self.right = 0, "", "up"

    def _info(self, valid: bool) -> dict[str, Any]:
        return {
            "admissible_actions": ["up", "down"],
            "won": self.count >= 3,
            "score": float(self.count),
            "task": "count to three",
            "valid": valid,
            "expert_action": None,
        }

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        task = (options or {})["task"]
        assert not (options or {}).get("expert"), "an evaluation never asks the expert"
        self.count, self.key, self.right = 0, task.key, "down" if task.type == "odd" else "up"
        return "The counter is at 0.", self._info(True)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if self.key == "broken":
            raise RuntimeError("the game crashed")
        valid = action in ("up", "down")
        self.count += 0 if not valid else 1 if action == self.right else -1
        # Done at -2, too, without having won: success must come from `won`.
        done = self.count >= 3 or self.count <= -2
        return f"The counter is at {self.count}.", float(done), done, False, self._info(valid)


class CountingSource:
    name = "counting"

    def __init__(self, keys: Sequence[str] = tuple(f"game-{n}" for n in range(6))) -> None:
        self.keys = keys
        self.made = 0

    def tasks(self, split: str) -> Sequence[Task]:
        return [Task("counting", split, key, ("even", "odd")[n % 2], seed=n) for n, key in enumerate(self.keys)]

    def make(self) -> CountingEnv:
        self.made += 1
        return CountingEnv()

    def provenance(self) -> Mapping[str, Any]:
        return {"engine": "python", "rules": 1, "data": {"loaded_so_far": self.made}}
