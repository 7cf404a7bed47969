"""Where a run stands when a batch is learned from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LearnerProgress:
    """What schedules of losses, weights and fusions depend on.

    Attributes:
        step: optimiser steps done so far (0 for the first batch).
        total_steps: optimiser steps of the whole run.
    """

    step: int
    total_steps: int

    @property
    def fraction(self) -> float:
        """Share of the run that is done, in [0, 1)."""
        return self.step / self.total_steps
