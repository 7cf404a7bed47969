"""What scheduled fusions share: ramps over the steps of a run, and noticing that a number has stopped falling."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

Shape = Literal["linear", "cosine"]


def ramp(start: float, end: float, step: int, steps: int, shape: Shape = "linear") -> float:
    """A value on its way from `start` (at step 0) to `end` (at `steps` and after)."""
    done = min(step / steps, 1.0) if steps else 1.0
    if shape == "cosine":
        done = (1.0 - math.cos(math.pi * done)) / 2.0
    return start + (end - start) * done


class Progressing:
    """Smooths a number and tells how much it has fallen, relatively, over a window.

    Attributes:
        history: smoothed values, the oldest first, at most `window` + 1.
    """

    def __init__(self, window: int, memory: float) -> None:
        """Makes it for a window of updates and an exponential average with this memory, in [0, 1)."""
        self.window, self.memory = window, memory
        self.history: list[float] = []

    def see(self, value: float) -> None:
        """Takes the next value; one that is not finite is no measurement and is passed over."""
        if not math.isfinite(value):
            return
        before = self.history[-1] if self.history else value
        self.history.append(self.memory * before + (1.0 - self.memory) * value)
        del self.history[: -self.window - 1]

    @property
    def improvement(self) -> float | None:
        """(then - now) / then over the window; None before there is a whole window, 0 from nothing to nothing."""
        if len(self.history) <= self.window:
            return None
        then, now = self.history[0], self.history[-1]
        return (then - now) / abs(then) if then else 0.0

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"history": list(self.history)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict`."""
        self.history = [float(v) for v in state["history"]]
