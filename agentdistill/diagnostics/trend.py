"""The late window of a number: its mean, and by how much it moved beyond its noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trend:
    """A least-squares line through a window of equally spaced values.

    Attributes:
        count: values in the window.
        mean: their mean.
        change: how far the line moves from the first value to the last.
        noise: standard error of `change`; 0 for a perfect line.
    """

    count: int
    mean: float
    change: float
    noise: float

    @property
    def significance(self) -> float:
        """`change` in standard errors, with its sign; infinite for a perfect line that moves, 0 for a flat one."""
        if self.noise > 0:
            return self.change / self.noise
        return math.copysign(math.inf, self.change) if self.change else 0.0

    @property
    def start(self) -> float:
        """Where the line begins."""
        return self.mean - self.change / 2


def trend(values: Sequence[float]) -> Trend:
    """The trend of some values.

    Args:
        values: at least 3, finite.
    """
    count = len(values)
    mean = math.fsum(values) / count
    middle = (count - 1) / 2
    spread = math.fsum((i - middle) ** 2 for i in range(count))
    slope = math.fsum((i - middle) * (value - mean) for i, value in enumerate(values)) / spread
    rest = math.fsum((value - mean - slope * (i - middle)) ** 2 for i, value in enumerate(values))
    error = math.sqrt(rest / (count - 2) / spread)
    change, noise = slope * (count - 1), error * (count - 1)
    # What is left of a straight line is rounding, not noise.
    return Trend(count, mean, change, noise if noise > 1e-9 * (abs(mean) + abs(change)) else 0.0)
