"""The distribution of a mixture over the whole vocabulary, from its members' hidden states: exact, memory bounded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from agentdistill.records import ScoreRequest, TeacherScores
from agentdistill.teachers.scoring import SparseStates, write_distribution
from agentdistill_teachers.mixing import Float64


def mix_whole(
    states: Sequence[Tensor], layers: Sequence[Tensor], weights: Float64, chunk: int = 64
) -> list[tuple[slice, Tensor]]:
    """The mixture over the whole vocabulary, in parts; exact.

    Args:
        states: [n, D_j] of each member, at the same n positions.
        layers: [V_j, D_j], their output layers; ids beyond the shortest are padding.
        weights: [J].
        chunk: positions at one time.

    Returns:
        Places and log-probabilities [m, V] of each part.
    """
    size = min(len(layer) for layer in layers)
    logs = torch.from_numpy(np.log(weights))
    parts = []
    for start in range(0, len(states[0]), chunk):
        span = slice(start, min(start + chunk, len(states[0])))
        each = [
            (own[span].to(layer.dtype) @ layer.T).float().log_softmax(-1)[:, :size].cpu() + float(log)
            for own, layer, log in zip(states, layers, logs, strict=True)
        ]
        parts.append((span, torch.stack(each).logsumexp(0)))
    return parts


def fill_whole(
    result: TeacherScores, parts: list[tuple[slice, Tensor]], at: npt.NDArray[np.int64], request: ScoreRequest
) -> None:
    """Writes top k, entropy, confidence and, as the states of an identity layer, the whole distribution.

    Args:
        result: to be filled, with room for what is wanted (`unscored`).
        parts: of `mix_whole`.
        at: int64 [n], the positions.
        request: what is wanted.
    """
    for span, logs in parts:
        write_distribution(result, at[span], logs)
    if request.hidden:
        whole = [logs for _, logs in parts]
        states: Any = torch.cat(whole) if whole else torch.zeros(0, 0)
        result.hidden = SparseStates(len(result.valid), torch.from_numpy(at), states)
