"""What a span is worth, and what each of its tokens gets of it."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from agentdistill.alignment.spans import Spans


def span_sums(values: npt.NDArray[np.floating], edges: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Sums of the values inside consecutive spans.

    Args:
        values: [m], NaN where unknown.
        edges: int64 [n + 1], the spans' borders (`Spans.first` or `Spans.second`).

    Returns:
        float64 [n]; NaN where a span has an unknown value, 0 where it has no token.
    """
    exact = np.asarray(values, dtype=np.float64)
    return np.array([exact[start:end].sum() for start, end in itertools.pairwise(edges)], np.float64)


def share_out(
    spans: Spans, totals: npt.NDArray[np.float64], weights: npt.NDArray[np.floating]
) -> npt.NDArray[np.float32]:
    """Gives every token of the first sequence its share of its span's number.

    A token alone in its span gets the number itself. Several get it in proportion to their weights (evenly when all
    are 0), and the largest share what rounding left over, so that their sum is the number.

    Args:
        spans: the spans.
        totals: float64 [n], a number for each span; NaN gives NaN.
        weights: [T], at least 0.

    Returns:
        float32 [T].
    """
    shares = np.full(int(spans.first[-1]), np.nan, dtype=np.float32)
    for number, (start, end) in enumerate(itertools.pairwise(spans.first)):
        if end - start == 1:
            shares[start] = totals[number]
        elif end > start:
            weight = np.asarray(weights[start:end], dtype=np.float64)
            whole = weight.sum()
            part = weight / whole if whole > 0 else np.full(end - start, 1.0 / (end - start))
            most = start + int(part.argmax())
            shares[start:end] = totals[number] * part
            shares[most] += totals[number] - shares[start:end].astype(np.float64).sum()
    return shares


def places_in_spans(spans: Spans) -> npt.NDArray[np.int32]:
    """The place of each token of the first sequence in its span, from 0; int32 [T]."""
    lengths = np.diff(spans.first)
    return (np.arange(int(spans.first[-1])) - np.repeat(spans.first[:-1], lengths)).astype(np.int32)
