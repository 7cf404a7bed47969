"""How sure a number is: Wilson intervals, exact paired tests, and an interval for a paired difference."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

CONFIDENCE = 0.95
"""Confidence of every interval unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured number with its interval.

    Attributes:
        value: the number; NaN when nothing was measured.
        low: lower end of the interval.
        high: upper end of the interval.
        n: number of observations behind it.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}] of {self.n}"


def _z(confidence: float) -> float:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"a confidence lies between 0 and 1, got {confidence}")
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def wilson(successes: int, n: int, confidence: float = CONFIDENCE) -> Estimate:
    """A proportion with Wilson's score interval (E. B. Wilson 1927), which holds at 0, at n and for small n.

    Args:
        successes: how many succeeded.
        n: out of how many; with 0 nothing is known: NaN in [0, 1].
        confidence: of the interval.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie in 0..{n}, got {successes}")
    if n == 0:
        return Estimate(math.nan, 0.0, 1.0, 0)
    z, p = _z(confidence), successes / n
    scale = 1 + z * z / n
    centre = (p + z * z / (2 * n)) / scale
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / scale
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Estimate(p, low, high, n)


def mean_estimate(values: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """A mean with its normal-theory interval, mean ± z·s/√n with the sample standard deviation.

    With one value the interval is the whole line; with none the value is NaN.
    """
    n = len(values)
    if n == 0:
        return Estimate(math.nan, -math.inf, math.inf, 0)
    mean = math.fsum(values) / n
    if n == 1:
        return Estimate(mean, -math.inf, math.inf, 1)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = _z(confidence) * deviation / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n)


def mcnemar_exact(gained: int, lost: int) -> float:
    """Two-sided exact McNemar test: the binomial test of the discordant pairs at 1/2.

    Args:
        gained: pairs that succeeded only after.
        lost: pairs that succeeded only before.

    Returns:
        p-value, 1 when there are no discordant pairs.
    """
    n = gained + lost
    tail = sum(math.comb(n, k) for k in range(min(gained, lost) + 1))
    # Integers until the division: exact for any n, and no underflow of 0.5**n.
    return min(1.0, (2 * tail) / (1 << n))


@dataclass(frozen=True, slots=True)
class Paired:
    """The same tasks played twice.

    Attributes:
        both: tasks won before and after.
        gained: won only after.
        lost: won only before.
        neither: won neither time.
        before: success before.
        after: success after.
        difference: after minus before, with Newcombe's paired interval.
        p_value: exact two-sided McNemar test of "no difference".
    """

    both: int
    gained: int
    lost: int
    neither: int
    before: Estimate
    after: Estimate
    difference: Estimate
    p_value: float

    @property
    def n(self) -> int:
        """Number of pairs."""
        return self.both + self.gained + self.lost + self.neither


def paired_difference(both: int, gained: int, lost: int, neither: int, confidence: float = CONFIDENCE) -> Estimate:
    """Difference of two paired proportions with Newcombe's interval.

    R. G. Newcombe, Statistics in Medicine 17 (1998) 2635-2650, method 10: the Wilson intervals of both proportions
    are combined with their correlation, φ with the continuity correction of the paper.
    """
    n = both + gained + lost + neither
    if n == 0:
        return Estimate(math.nan, -1.0, 1.0, 0)
    after, before = wilson(both + gained, n, confidence), wilson(both + lost, n, confidence)
    product = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    determinant: float = both * neither - gained * lost
    if determinant > 0:
        determinant = max(0.0, determinant - n / 2)
    phi = determinant / math.sqrt(product) if product else 0.0
    value = (gained - lost) / n

    def distance(up: float, down: float) -> float:
        return math.sqrt(max(0.0, up * up - 2 * phi * up * down + down * down))

    low = value - distance(after.value - after.low, before.high - before.value)
    high = value + distance(after.high - after.value, before.value - before.low)
    return Estimate(value, max(-1.0, low), min(1.0, high), n)


def pair(outcomes: Iterable[tuple[bool, bool]], confidence: float = CONFIDENCE) -> Paired:
    """Compares paired outcomes.

    Args:
        outcomes: (won before, won after) of each task.
        confidence: of the intervals.
    """
    counts = {(b, a): 0 for b in (False, True) for a in (False, True)}
    for before, after in outcomes:
        counts[bool(before), bool(after)] += 1
    both, gained, lost, neither = counts[True, True], counts[False, True], counts[True, False], counts[False, False]
    n = both + gained + lost + neither
    return Paired(
        both=both,
        gained=gained,
        lost=lost,
        neither=neither,
        before=wilson(both + lost, n, confidence),
        after=wilson(both + gained, n, confidence),
        difference=paired_difference(both, gained, lost, neither, confidence),
        p_value=mcnemar_exact(gained, lost),
    )
