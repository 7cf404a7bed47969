"""A small deterministic text world and an engine that follows a script: for the rollout's own logic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
from tiny import tiny_tokenizer

from agentdistill.conversation.template import ChatRenderer
from agentdistill.engines.base import Generation, GenerationRequest, Sampling
from agentdistill.records import EpisodePlan, Task
from agentdistill.rollout.episode import EpisodeRequest

LENGTHS = (2, 5, 3, 7, 4)


class CorridorEnv(gym.Env[str, str]):
    """A corridor: `ahead` moves on, at the door `open` wins, `jump` ends without winning; tasks differ in length."""

    def __init__(self, source: CorridorSource) -> None:
        self.source = source
        self.closed = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        assert options is not None
        self.task, self.expert = options["task"], options["expert"]
        self.source.resets.append((self.task.key, seed))
        if self.task.key in self.source.broken_resets:
            raise RuntimeError("no such corridor")
        self.length = LENGTHS[int(self.task.key) % len(LENGTHS)]
        self.place, self.taken, self.won = 0, 0, False
        return f"A corridor of {self.length} steps.", self.info(True)

    def info(self, valid: bool) -> dict[str, Any]:
        info = {
            "admissible_actions": ["ahead", "open", "jump"],
            "won": self.won,
            "score": float(self.place),
            "task": "open the door",
            "valid": valid,
        }
        if self.expert:
            info["expert_action"] = "open" if self.place == self.length else "ahead"
        return info

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self.taken += 1
        self.source.commands.append(action)
        if (self.task.key, self.taken) in self.source.broken_steps:
            raise OSError("the corridor caved in")
        valid = (action == "ahead" and self.place < self.length) or action in ("open", "jump")
        if action == "ahead" and valid:
            self.place += 1
        self.won = action == "open" and self.place == self.length
        text = f"You are at {self.place}." if valid else "Nothing happens."
        return text, float(self.won), self.won or action == "jump", self.taken >= 20, self.info(valid)

    def close(self) -> None:
        self.closed = True


@dataclass
class CorridorSource:
    """Makes corridors and remembers what was done to them."""

    broken_resets: set[str] = field(default_factory=set)
    broken_steps: set[tuple[str, int]] = field(default_factory=set)
    made: list[CorridorEnv] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    resets: list[tuple[str, int | None]] = field(default_factory=list)
    name: str = "corridor"

    def make(self) -> CorridorEnv:
        self.made.append(CorridorEnv(self))
        return self.made[-1]

    def tasks(self, split: str) -> list[Task]:
        return [Task("corridor", split, str(i)) for i in range(len(LENGTHS))]

    def provenance(self) -> dict[str, Any]:
        return {}


class ScriptedEngine:
    """Answers with what a function says for (session, turn of that session, prompt text)."""

    context_length = 4096

    def __init__(self, answer: Callable[[str, int, str], str], finish: str = "stop", limit: int = 4096) -> None:
        self.answer, self.finish, self.limit = answer, finish, limit
        self.tokenizer = tiny_tokenizer()
        self.turns: dict[str, int] = {}
        self.batches: list[list[str]] = []
        self.seeds: dict[tuple[str, int], int] = {}
        self.allowed: list[Any] = []
        self.released: list[str] = []

    def generate(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> list[Generation]:
        self.batches.append([request.session for request in requests])
        results = []
        for request in requests:
            turn = self.turns.get(request.session, 0)
            self.turns[request.session] = turn + 1
            self.seeds[request.session, turn] = request.seed
            self.allowed.append(request.allowed)
            if len(request.prompt) + 1 > self.limit:
                results.append(Generation([], [], "context"))
                continue
            ids = self.tokenizer.encode(self.answer(request.session, turn, self.tokenizer.decode(request.prompt)))
            ids = [*ids, 2] if self.finish == "stop" else ids
            results.append(Generation(ids, [-0.5] * len(ids), self.finish))
        return results

    def release(self, sessions) -> None:
        self.released += list(sessions)

    def sync(self, policy_version: int) -> None:
        pass


def requests(count: int, **plan: Any) -> list[EpisodeRequest]:
    return [
        EpisodeRequest(Task("corridor", "train", str(i), seed=40 + i), EpisodePlan(**plan), seed=i)
        for i in range(count)
    ]


def renderer() -> ChatRenderer:
    return ChatRenderer(tiny_tokenizer())


def lost(session: str, turn: int, prompt: str) -> str:
    """What a student writes that gets nowhere."""
    return "dance"


def right(session: str, turn: int, prompt: str) -> str:
    """What wins: reads how long the corridor is and where one stands."""
    length = int(prompt.split("A corridor of ")[1].split()[0]) if "A corridor of " in prompt else 99
    place = int(prompt.rsplit("You are at ", 1)[1].split(".")[0]) if "You are at " in prompt else 0
    return "open" if place == length else "ahead"
