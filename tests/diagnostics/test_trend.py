"""The line through a window: against numpy's least squares, and at its edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentdistill.diagnostics.trend import trend

numbers = st.lists(st.floats(-100, 100), min_size=4, max_size=60)


@settings(deadline=None, max_examples=50)
@given(numbers)
def test_it_is_the_least_squares_line(values: list[float]) -> None:
    found = trend(values)
    slope, offset = np.polyfit(np.arange(len(values)), values, 1)
    assert found.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert found.change == pytest.approx(slope * (len(values) - 1), abs=1e-6)
    assert found.start == pytest.approx(offset, abs=1e-6)


def test_the_error_is_the_textbooks() -> None:
    rng = np.random.default_rng(0)
    values = (0.1 * np.arange(30) + rng.standard_normal(30)).tolist()
    (slope, _), covariance = np.polyfit(np.arange(30), values, 1, cov=True)
    assert trend(values).significance == pytest.approx(slope / math.sqrt(covariance[0, 0]), rel=1e-6)


def test_a_perfect_line_has_no_noise_and_a_flat_one_does_not_move() -> None:
    assert trend([1.0, 2.0, 3.0, 4.0]).significance == math.inf
    assert trend([4.0, 3.0, 2.0, 1.0]).significance == -math.inf
    assert trend([0.3] * 20).significance == 0.0
