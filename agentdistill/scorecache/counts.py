"""What a cache did, for metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from agentdistill.records import Trajectory

NAMES = ("cache_hits", "cache_misses", "cached_tokens", "calls", "cache_unwritten", "cache_corrupt")
"""Episodes found and not found, row tokens that were not asked for again, calls to the teacher, episodes that could not
be kept, and damaged packs or episodes."""


class Counts:
    """What a cache did since it was last asked."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, name: str, count: int = 1) -> None:
        """Counts something, by its name in `NAMES`."""
        self._counts[name] += count

    def looked_up(self, keys: Sequence[str], trajectories: Sequence[Trajectory], found: Collection[str]) -> None:
        """Counts episodes that were looked for; one that stands twice in a call is paid for once."""
        seen: set[str] = set()
        for key, trajectory in zip(keys, trajectories, strict=True):
            free = key in found or key in seen
            self.add("cache_hits" if free else "cache_misses")
            self.add("cached_tokens", sum(len(row) for row in trajectory.rows) if free else 0)
            seen.add(key)

    def take(self) -> dict[str, float]:
        """All counts; they begin anew."""
        taken, self._counts = self._counts, Counter()
        return {name: float(taken[name]) for name in NAMES}
