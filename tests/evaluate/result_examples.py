"""Panels, sources and results made of plain facts, for the tests of this room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agentdistill.errors import DataError
from agentdistill.evaluate.result import SUCCESS_RULE, EvalResult, Outcome
from agentdistill.records import Panel, StopReason, Task

PROTOCOL = {
    "players": "student only, full depth",
    "samples_per_task": 1,
    "success_rule": SUCCESS_RULE,
    "max_steps": 30,
    "temperature": 0.4,
    "constrained": False,
    "prompt_hash": "abc123",
    "environment": {"engine": "real", "version": "1.0", "data": {"games": 4}},
}


class ListSource:
    """Only the part of an environment that panels are made from."""

    name = "toy"

    def __init__(self, count: int = 40) -> None:
        self.count = count

    def tasks(self, split: str) -> Sequence[Task]:
        if split != "valid":
            raise DataError(f"There is no split {split}.")
        return [Task("toy", split, f"game-{n:03}", ("find", "heat")[n % 2], seed=n) for n in range(self.count)]

    def make(self) -> Any:
        raise AssertionError("panels play nothing")

    def provenance(self) -> Mapping[str, Any]:
        return {"engine": "list", "games": self.count}


def result(won: str, *, stops: Mapping[int, StopReason] | None = None, **changes: Any) -> EvalResult:
    """A result from a string of wins ("1") and losses ("0")."""
    tasks = ListSource(len(won)).tasks("valid")
    outcomes = []
    for index, (task, letter) in enumerate(zip(tasks, won, strict=True)):
        stop = (stops or {}).get(index, StopReason.SUCCESS if letter == "1" else StopReason.ENV_LIMIT)
        steps = 10 if letter == "1" else 30
        outcomes.append(Outcome(task, letter == "1", stop, steps, steps // 10, float(letter), 500, 7 * steps))
    values: dict[str, Any] = {
        "panel": "toy/valid",
        "panel_hash": Panel("toy/valid", tuple(tasks)).hash,
        "protocol": PROTOCOL,
        "outcomes": tuple(outcomes),
        "provenance": {"models": {"student": {"fingerprint": "f00"}}},
        "seed": 5,
        "seconds": 1.5,
    }
    return EvalResult(**{**values, **changes})
