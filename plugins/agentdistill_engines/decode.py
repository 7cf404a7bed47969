"""The decoding loop: all rows of a batch in lockstep, finished rows dropped, bookkeeping vectorised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from agentdistill.engines.base import Finish, Generation, GenerationRequest, Sampling
from agentdistill.errors import TrainingError
from agentdistill_engines.sampling import AllowedTokens, choose, entropy, uniforms

HOLES = 4
"""Rows are compacted once one in `HOLES` of the computed rows is finished: each compaction moves cached keys and
values, each finished row that stays costs one row of compute a token."""


class Stepper(Protocol):
    """Runs the model for a batch of rows that grow by one token at a time."""

    def first(self) -> torch.Tensor:
        """Feeds the prompts; returns the logits [rows, V] of each row's first new token."""
        ...

    def step(self, tokens: torch.Tensor, active: npt.NDArray[np.bool_]) -> torch.Tensor:
        """Feeds one token a row, int64 [rows]; rows that are not active may be fed anything. Returns [rows, V]."""
        ...

    def compact(self, active: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """Drops the rows that are not active; returns which old row each remaining row was."""
        ...


def decode(
    stepper: Stepper, requests: Sequence[GenerationRequest], sampling: Sampling, room: Sequence[int]
) -> list[Generation]:
    """Samples one response for each request.

    Args:
        stepper: the model, its rows in the order of the requests.
        requests: what to sample.
        sampling: how.
        room: most new tokens of each request, at least 1 (its context may end before `max_new_tokens`).

    Returns:
        The responses, in the order of the requests.

    Raises:
        TrainingError: the model produced a log-probability that is not finite.
    """
    count, most = len(requests), max(room)
    random = uniforms([request.seed for request in requests], most)
    tokens = np.zeros((count, most), dtype=np.int64)
    logprobs = np.zeros((count, most), dtype=np.float32)
    entropies = np.zeros((count, most), dtype=np.float32) if sampling.entropy else None
    top_ids = np.zeros((count, most, sampling.top_k), dtype=np.int64) if sampling.top_k else None
    lengths = np.zeros(count, dtype=np.int64)
    stopped = np.zeros(count, dtype=bool)
    limits = np.asarray(room, dtype=np.int64)
    stop_ids = np.asarray(sampling.stop_ids, dtype=np.int64)
    walks = [AllowedTokens(r.allowed, sampling.stop_ids) if r.allowed is not None else None for r in requests]
    constrained = any(walk is not None for walk in walks)

    row_of = np.arange(count)
    active = np.ones(count, dtype=bool)
    logits = stepper.first()
    device = logits.device
    for t in range(most):
        mask = _allowed_mask(walks, row_of, active, logits) if constrained else None
        uniform = torch.from_numpy(random[row_of, t]).to(device)
        chosen, logprob = choose(logits, uniform, sampling.temperature, sampling.top_p, mask)
        picked = chosen.cpu().numpy()
        rows = row_of[active]
        tokens[rows, t] = picked[active]
        logprobs[rows, t] = logprob.cpu().numpy()[active]
        if entropies is not None:
            entropies[rows, t] = entropy(logits).cpu().numpy()[active]
        if top_ids is not None:
            top_ids[rows, t] = logits.topk(sampling.top_k, dim=-1).indices.cpu().numpy()[active]
        lengths[rows] = t + 1
        if constrained:
            for row in rows:
                if (walk := walks[row]) is not None:
                    walk.take(int(tokens[row, t]))
        stopped[rows] = np.isin(tokens[rows, t], stop_ids)
        active &= ~(stopped[row_of] | (limits[row_of] <= t + 1))
        alive = int(active.sum())
        if not alive:
            break
        if (len(active) - alive) * HOLES >= len(active):
            kept = stepper.compact(active)
            row_of, active = row_of[kept], np.ones(alive, dtype=bool)
            chosen = chosen[torch.from_numpy(kept).to(device)]
        logits = stepper.step(chosen, active)
    _require_finite(logprobs, requests)
    finish: dict[bool, Finish] = {False: "length", True: "stop"}
    return [
        Generation(
            tokens[i, : lengths[i]].tolist(),
            logprobs[i, : lengths[i]].tolist(),
            finish[bool(stopped[i])],
            None if entropies is None else entropies[i, : lengths[i]].tolist(),
            None if top_ids is None else top_ids[i, : lengths[i]].tolist(),
        )
        for i in range(count)
    ]


def _allowed_mask(
    walks: Sequence[AllowedTokens | None],
    row_of: npt.NDArray[np.int64],
    active: npt.NDArray[np.bool_],
    logits: torch.Tensor,
) -> torch.Tensor:
    mask = np.ones(tuple(logits.shape), dtype=bool)
    for position, row in enumerate(row_of):
        walk = walks[row]
        if walk is not None and active[position]:
            mask[position] = False
            mask[position, walk.choices()] = True
    return torch.from_numpy(mask).to(logits.device)


def _require_finite(logprobs: npt.NDArray[np.float32], requests: Sequence[GenerationRequest]) -> None:
    finite = np.isfinite(logprobs).all(axis=1)
    if not finite.all():
        session = requests[int(np.flatnonzero(~finite)[0])].session
        raise TrainingError(
            f"The model gave a log-probability that is not finite while sampling for session {session!r}.",
            "Its weights or activations overflowed or are NaN.",
            "Look at the last optimiser steps (gradient norm, learning rate); with float16 weights use bfloat16 "
            "or float32.",
        )
