"""Watches the metrics of a run and raises each warning once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from agentdistill.diagnostics.rules import RULES, Rule
from agentdistill.diagnostics.trend import Trend, trend

WINDOW = 0.2
"""Share of the run so far that a window covers, unless that is too few steps."""

PATIENCE = 3
"""Steps in a row in which a condition must hold."""

DEPTH = "curriculum/depth"


@dataclass(frozen=True, slots=True)
class Alert:
    """A warning that was raised.

    Attributes:
        name: the rule's name.
        step: optimiser steps done when it was raised.
        mean: of the late window.
        change: over that window.
        steps: length of the window.
        means: what it means.
        advice: what to do.
    """

    name: str
    step: int
    mean: float
    change: float
    steps: int
    means: str
    advice: str

    def __str__(self) -> str:
        seen = f"{self.mean:.3g} on average over the last {self.steps} steps, {self.change:+.2g} within them"
        return f"{self.name}: {self.means} ({seen}.) {self.advice}"


class Monitor:
    """Sees the metrics of every step.

    Args:
        rules: what to look for.
    """

    def __init__(self, rules: Sequence[Rule] = RULES) -> None:
        self._rules = tuple(rules)
        self._seen: dict[str, list[float]] = {rule.name: [] for rule in rules}
        self._depths: dict[str, list[float]] = {rule.name: [] for rule in rules if rule.steady}
        self._held: dict[str, int] = {}
        self.raised: list[Alert] = []

    def observe(self, step: int, metrics: Mapping[str, Any]) -> list[Alert]:
        """Looks at a finished step.

        Args:
            step: optimiser steps done.
            metrics: its metrics; what is missing or not finite is not judged.

        Returns:
            Warnings raised by this step; each is raised once in a run.
        """
        numbers = {key: value for key, value in metrics.items() if isinstance(value, int | float)}
        known = {alert.name for alert in self.raised}
        new: list[Alert] = []
        for rule in self._rules:
            value = rule.signal(numbers)
            if rule.name in known or value is None or not math.isfinite(value):
                continue
            window = self._window(rule, float(value), numbers)
            holds = window is not None and any(condition.holds(window) for condition in rule.when)
            self._held[rule.name] = self._held.get(rule.name, 0) + 1 if holds else 0
            if window is not None and self._held[rule.name] >= PATIENCE:
                new.append(Alert(rule.name, step, window.mean, window.change, window.count, rule.means, rule.advice))
        self.raised += new
        return new

    def _window(self, rule: Rule, value: float, metrics: Mapping[str, float]) -> Trend | None:
        """The late window of a rule's number, None while it is too short to judge."""
        values = self._seen[rule.name]
        if rule.steady:
            depths = self._depths[rule.name]
            depth = metrics.get(DEPTH, 0.0)
            if depths and depths[-1] != depth:  # what went before is another task
                values.clear()
                depths.clear()
            depths.append(depth)
        values.append(value)
        length = max(rule.least, math.ceil(WINDOW * len(values)))
        return trend(values[-length:]) if len(values) >= length else None

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs, as JSON."""
        return {
            "seen": {name: list(values) for name, values in self._seen.items()},
            "depths": {name: values[-1:] for name, values in self._depths.items()},
            "held": dict(self._held),
            "raised": [asdict(alert) for alert in self.raised],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict`; rules it does not know begin anew."""
        for name in self._seen:
            self._seen[name] = [float(value) for value in state["seen"].get(name, [])]
        for name in self._depths:
            self._depths[name] = [float(value) for value in state["depths"].get(name, [])]
        self._held = {name: int(count) for name, count in state["held"].items()}
        self.raised = [Alert(**alert) for alert in state["raised"]]
