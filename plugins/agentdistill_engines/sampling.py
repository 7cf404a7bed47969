"""Choosing tokens from logits, vectorised over rows, with randomness that belongs to the request alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from agentdistill.errors import ConfigError

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of SplitMix64: a bijection of 64 bits whose outputs pass statistical tests for counters."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def uniforms(seeds: Sequence[int], count: int) -> npt.NDArray[np.float64]:
    """One stream of uniform numbers for each seed, the same whatever other seeds are asked for with it.

    Counter based: number t of a stream is a hash of (seed, t), so a batch costs one vectorised call and no row
    can consume another row's randomness.

    Args:
        seeds: any integers; taken modulo 2**64.
        count: numbers for each seed.

    Returns:
        float64 [len(seeds), count] in [0, 1 - 2**-52].
    """
    key = _mix(np.array([seed & 0xFFFFFFFFFFFFFFFF for seed in seeds], dtype=np.uint64) + _GOLDEN)
    counter = np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
    bits = _mix(_mix(key[:, None] + counter[None, :]))
    return (bits >> np.uint64(12)).astype(np.float64) * 2.0**-52


def choose(
    logits: torch.Tensor,
    uniform: torch.Tensor,
    temperature: float,
    top_p: float,
    allowed: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples one token a row.

    Args:
        logits: [rows, V], any float dtype.
        uniform: float64 [rows], this step's number of each row's stream.
        temperature: 0 is greedy.
        top_p: nucleus mass in (0, 1], 1 is off.
        allowed: bool [rows, V], False where a token may not be chosen, or None.

    Returns:
        (int64 [rows] tokens, float32 [rows] log-probabilities at temperature 1 and top_p 1, unconstrained).
    """
    logits = logits.float()
    scores = logits if allowed is None else logits.masked_fill(~allowed, float("-inf"))
    if temperature == 0:
        chosen = scores.argmax(-1)
    else:
        probabilities = torch.softmax(scores / temperature, -1)
        order = None
        if top_p < 1:
            probabilities, order = probabilities.sort(stable=True, dim=-1, descending=True)
            before = probabilities.cumsum(-1, dtype=torch.float64) - probabilities
            probabilities = probabilities.masked_fill(before >= top_p, 0.0)
        mass = probabilities.cumsum(-1, dtype=torch.float64)
        target = uniform[:, None] * mass[:, -1:]
        chosen = torch.searchsorted(mass, target, right=True).clamp_(max=logits.shape[-1] - 1)
        chosen = chosen if order is None else order.gather(-1, chosen)
        chosen = chosen.squeeze(-1)
    logprob = logits.gather(-1, chosen[:, None]).squeeze(-1) - logits.logsumexp(-1)
    return chosen, logprob


def entropy(logits: torch.Tensor) -> torch.Tensor:
    """Entropy of each row's distribution at temperature 1, float32 [rows], nats."""
    logprobs = torch.log_softmax(logits.float(), -1)
    # p log p is 0 where p underflows to 0, also where log p is -inf.
    return -(logprobs.exp() * logprobs.clamp(min=torch.finfo(torch.float32).min)).sum(-1)


class AllowedTokens:
    """Restricts one response to a set of token sequences by walking their prefix tree.

    Args:
        sequences: the allowed responses, each with its terminator.
        stop_ids: tokens that end a response.

    Raises:
        ConfigError: there is no sequence, or one does not end with a stop token.
    """

    def __init__(self, sequences: Sequence[Sequence[int]], stop_ids: Sequence[int]) -> None:
        if not sequences:
            raise ConfigError(
                "Constrained sampling was asked for with an empty list of allowed responses.",
                "The environment listed no admissible actions.",
                "Turn constrained sampling off for this environment (`rollout.constrained = false`).",
            )
        self._root: dict[int, Any] = {}
        for sequence in sequences:
            if not sequence or sequence[-1] not in stop_ids:
                raise ConfigError(
                    f"An allowed response does not end with a stop token: {list(sequence)}.",
                    f"The stop tokens of this run are {sorted(stop_ids)}.",
                    "Build allowed responses with `ChatRenderer.response`, which adds the terminator.",
                )
            node = self._root
            for token in sequence:
                node = node.setdefault(int(token), {})
        self._node = self._root

    def choices(self) -> list[int]:
        """Tokens that may come next."""
        return list(self._node)

    def take(self, token: int) -> None:
        """Moves on by one token."""
        self._node = self._node[token]
