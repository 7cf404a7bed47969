"""Bounds of an entropy from the most likely tokens, against whole distributions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from agentdistill.teachers.entropy import entropy_bounds

LOGITS = arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(2, 12)), elements=st.floats(-30, 30))


def distribution(logits):
    logp = logits - np.logaddexp.reduce(logits, -1, keepdims=True)
    return np.sort(logp, -1)[:, ::-1], -(np.exp(logp) * logp).sum(-1)


@pytest.mark.oracle
@given(logits=LOGITS, share=st.floats(0, 1))
def test_the_entropy_lies_between_the_bounds(logits, share):
    logp, entropy = distribution(logits)
    k = 1 + int(share * (logp.shape[-1] - 1))
    low, high = entropy_bounds(logp[:, :k].astype(np.float32), logp.shape[-1])
    assert (low <= entropy + 1e-4).all() and (entropy <= high + 1e-4).all()
    assert low.dtype == np.float32 and (low >= -1e-6).all()


@given(logits=LOGITS)
def test_all_tokens_leave_no_doubt(logits):
    logp, entropy = distribution(logits)
    low, high = entropy_bounds(logp, logp.shape[-1])
    np.testing.assert_allclose(low, entropy, atol=1e-4)
    np.testing.assert_allclose(high, entropy, atol=1e-4)


def test_both_bounds_are_reached():
    even = np.log(np.full((1, 2), 0.25))  # of four tokens: two known, the tail spread evenly over the others
    low, high = entropy_bounds(even, 4)
    assert low[0] == pytest.approx(np.log(4)) == pytest.approx(high[0])
    single = np.log(np.array([[0.6, 0.3]]))  # the tail may be one token of 0.1
    low, _ = entropy_bounds(single, 1000)
    assert low[0] == pytest.approx(-(0.6 * np.log(0.6) + 0.3 * np.log(0.3) + 0.1 * np.log(0.1)))


def test_rounding_above_one_and_impossible_tokens():
    low, high = entropy_bounds(np.array([[1e-6, -np.inf]]), 10)
    assert np.isfinite(low).all() and np.isfinite(high).all() and abs(low[0]) < 1e-5
