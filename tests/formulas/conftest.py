"""One batch for all formulas, and what it means that the learner agrees with one."""

from __future__ import annotations

import pytest
from naive_batch import Batch
from torch import Tensor

ROUNDING = 1e-6
"""Statistics are float32, whatever the model is."""


@pytest.fixture(scope="session")
def batch() -> Batch:
    """It is not changed by looking at it."""
    return Batch()


@pytest.fixture
def agree(batch: Batch):
    """Whether the learner's loss and gradient are those of a total."""

    def check(learned: tuple[float, Tensor], total: Tensor, rounding: float = ROUNDING) -> None:
        value, gradient = batch.expected(total)
        assert float(gradient.norm()) > 0
        assert float((learned[1] - gradient).norm()) <= rounding * float(gradient.norm())
        assert learned[0] == pytest.approx(value, rel=1e-5, abs=1e-6)

    return check
