"""What the most likely tokens say about the entropy of a whole distribution."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def entropy_bounds(
    topk_logprobs: npt.NDArray[np.floating], vocabulary: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Bounds of the entropy of distributions of which only the k most likely tokens are known.

    With p_k the smallest known probability and tau the tail mass, no tail token is likelier than min(tau, p_k). So the
    tail adds at least -tau log min(tau, p_k) nats, and at most -tau log(tau / (V - k)), when it is spread evenly.

    Args:
        topk_logprobs: [n, k], the k most likely tokens of each position, most likely first.
        vocabulary: number of token ids, V.

    Returns:
        Lower and upper bound, float32 [n], nats; equal when k = V.
    """
    known = np.asarray(topk_logprobs, dtype=np.float64)
    probabilities = np.exp(known)
    head = -(probabilities * np.where(probabilities > 0, known, 0.0)).sum(-1)
    tail = np.clip(1.0 - probabilities.sum(-1), 0.0, 1.0)
    others = max(vocabulary - known.shape[-1], 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        most = np.minimum(tail, probabilities[..., -1])
        low = np.where((tail > 0) & (most > 0), -tail * np.log(most), 0.0)
        high = np.where(tail > 0, -tail * np.log(tail / others), 0.0) if others else low
    return (head + low).astype(np.float32), (head + np.maximum(low, high)).astype(np.float32)
