from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentdistill.evaluate.statistics import (
    Estimate,
    mcnemar_exact,
    mean_estimate,
    pair,
    paired_difference,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_agrees_with_the_published_table(successes: int, n: int, low: float, high: float) -> None:
    estimate = wilson(successes, n)
    assert (round(estimate.low, 4), round(estimate.high, 4)) == (low, high)
    assert estimate.value == successes / n and estimate.n == n


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_an_interval_around_the_value_and_symmetric(counts: tuple[int, int]) -> None:
    successes, n = counts
    one, other = wilson(successes, n), wilson(n - successes, n)
    assert 0 <= one.low <= one.value <= one.high <= 1
    assert one.low == pytest.approx(1 - other.high, abs=1e-12)
    assert wilson(successes, n, 0.99).low <= one.low <= one.high <= wilson(successes, n, 0.99).high


@pytest.mark.parametrize("n", [10, 40])
def test_wilson_covers_about_as_often_as_it_says(n: int) -> None:
    """Exact coverage, averaged over the true probability, lies near 95%."""
    intervals = [wilson(k, n) for k in range(n + 1)]
    grid = [i / 200 for i in range(1, 200)]
    coverage = [
        sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k, e in enumerate(intervals) if e.low <= p <= e.high)
        for p in grid
    ]
    assert 0.945 < sum(coverage) / len(coverage) < 0.965


def test_nothing_measured_is_not_zero() -> None:
    estimate = wilson(0, 0)
    assert math.isnan(estimate.value) and (estimate.low, estimate.high, estimate.n) == (0.0, 1.0, 0)
    assert math.isnan(mean_estimate([]).value)
    assert mean_estimate([3.0]) == Estimate(3.0, -math.inf, math.inf, 1)
    assert math.isnan(paired_difference(0, 0, 0, 0).value)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.\.3"):
        wilson(4, 3)
    with pytest.raises(ValueError, match="between 0 and 1"):
        wilson(1, 3, confidence=95)


def test_the_mean_of_known_numbers() -> None:
    estimate = mean_estimate([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0])
    assert estimate.value == 5.0
    assert estimate.high - 5.0 == pytest.approx(1.959964 * math.sqrt(32 / 7) / math.sqrt(8), rel=1e-6)


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [(0, 0, 1.0), (1, 7, 0.0703125), (5, 5, 1.0), (6, 0, 0.03125), (10, 2, 0.03857421875), (6, 16, 0.052479)],
)
def test_exact_mcnemar(gained: int, lost: int, p: float) -> None:
    assert mcnemar_exact(gained, lost) == pytest.approx(p, abs=1e-6)
    assert mcnemar_exact(lost, gained) == mcnemar_exact(gained, lost)


def test_exact_mcnemar_does_not_underflow() -> None:
    assert 0 < mcnemar_exact(1000, 0) < 1e-300
    assert mcnemar_exact(5000, 5000) == 1.0


def test_newcombe_agrees_with_the_published_example() -> None:
    """Bentur et al. 2009, airway hyper-responsiveness, as worked out by Fagerland, Lydersen and Laake (2017), ch. 8."""
    estimate = paired_difference(both=1, gained=1, lost=7, neither=12)
    assert (round(estimate.value, 3), round(estimate.low, 3), round(estimate.high, 3)) == (-0.286, -0.507, -0.026)


@given(*[st.integers(0, 60)] * 4)
def test_newcombe_is_an_interval_that_turns_with_the_sides(both: int, gained: int, lost: int, neither: int) -> None:
    there, back = paired_difference(both, gained, lost, neither), paired_difference(both, lost, gained, neither)
    if there.n == 0:
        return
    assert -1 <= there.low <= there.value <= there.high <= 1
    assert there.low == pytest.approx(-back.high, abs=1e-12) and there.value == -back.value


def test_newcombe_covers_about_as_often_as_it_says() -> None:
    """Exact coverage over all 2x2 tables of 25 pairs, for four true tables."""
    n = 25
    tables = [
        (b, g, lo, n - b - g - lo) for b, g, lo in product(range(n + 1), repeat=3) if b + g + lo <= n
    ]  # fmt: skip
    intervals = {table: paired_difference(*table) for table in tables}
    for truth in [(0.2, 0.4, 0.05, 0.35), (0.1, 0.1, 0.1, 0.7), (0.6, 0.25, 0.1, 0.05), (0.25, 0.25, 0.25, 0.25)]:
        difference, covered = truth[1] - truth[2], 0.0
        for table in tables:
            if intervals[table].low <= difference <= intervals[table].high:
                ways = math.factorial(n)
                for count in table:
                    ways //= math.factorial(count)
                covered += ways * math.prod(p**count for p, count in zip(truth, table, strict=True))
        assert 0.92 < covered < 0.985, truth


def test_pairing_counts_each_kind() -> None:
    paired = pair([(True, True)] * 3 + [(False, True)] * 5 + [(True, False)] + [(False, False)] * 2)
    assert (paired.both, paired.gained, paired.lost, paired.neither, paired.n) == (3, 5, 1, 2, 11)
    assert paired.before.value == 4 / 11 and paired.after.value == 8 / 11
    assert paired.difference.value == pytest.approx(4 / 11) and paired.p_value == mcnemar_exact(5, 1)


def test_an_estimate_reads_like_the_readme() -> None:
    assert str(wilson(116, 200)) == "0.58 [0.51, 0.65] of 200"
