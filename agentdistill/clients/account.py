"""What a model behind an endpoint cost: numbers for every step, kept over a resume."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from agentdistill.clients.usage import Usage

SPENT = {"tokens_in": "prompt_tokens", "tokens_out": "completion_tokens", "requests": "sent", "cached": "cached"}
"""Metrics of a step by the counter of the client whose difference they are."""

KEPT = ("prompt_tokens", "completion_tokens", "unmeasured", "sent", "cached")
"""Counters that a budget depends on, or that a run reports at its end."""


class Account:
    """Differences of a client's counters.

    Args:
        usage: of the client.
    """

    def __init__(self, usage: Usage) -> None:
        self._usage = usage
        self._told: dict[str, float] = {}

    def news(self, counts: Iterable[Mapping[str, int]] = ()) -> dict[str, float]:
        """What was asked and spent since the last call.

        Args:
            counts: more counters that only grow; they are added up by name, and named `answers/NAME`.

        Returns:
            Metrics; `cost_usd` only where prices are known.
        """
        now = {name: float(getattr(self._usage, counter)) for name, counter in SPENT.items()}
        now["cost_usd"] = self._usage.cost
        for group in counts:
            for name, count in group.items():
                now[f"answers/{name}"] = now.get(f"answers/{name}", 0.0) + count
        since = {name: value - self._told.get(name, 0.0) for name, value in now.items()}
        self._told = now
        return {name: value for name, value in since.items() if value == value}

    def state_dict(self) -> dict[str, Any]:
        """The counters that a budget depends on, and how much of them has been told."""
        told = {name: value for name, value in self._told.items() if not name.startswith("answers/") and value == value}
        return {"usage": {name: getattr(self._usage, name) for name in KEPT}, "told": told}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict`. What this process has asked before stays counted, too: it was paid.

        What was spent in a step that was begun and not finished is told with the step that is finished instead.
        """
        for name, value in state.get("usage", {}).items():
            setattr(self._usage, name, getattr(self._usage, name) + int(value))
        self._told = {name: float(value) for name, value in state.get("told", {}).items()}
