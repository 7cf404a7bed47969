"""A teacher that thinks a little otherwise than the student, made from the student's own scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from agentdistill.records import TeacherScores
from agentdistill.teachers.scoring import SparseStates

NATS = 0.3
"""Standard deviation of the difference in a log-probability."""


def disturbed(scores: TeacherScores, rng: np.random.Generator) -> TeacherScores:
    """Scores with noise: still log-probabilities, of other opinions.

    Args:
        scores: of one row.
        rng: where the noise comes from.
    """
    length = len(scores.sampled_logprob)

    def noise(*more: int) -> npt.NDArray[np.float32]:
        return (NATS * rng.standard_normal((length, *more))).astype(np.float32)

    top_ids, top = scores.topk_ids, scores.topk_logprobs
    if top_ids is not None and top is not None and top.shape[1]:
        top = top + noise(top.shape[1])
        with np.errstate(invalid="ignore"):  # positions without scores stay NaN
            total = np.logaddexp.reduce(top, axis=-1, keepdims=True)
        top = top - np.maximum(total + 1e-3, 0.0)  # together they may not exceed what there is
        order = np.argsort(-top, axis=-1, kind="stable")
        top = np.take_along_axis(top, order, axis=-1).astype(np.float32)
        top_ids = np.take_along_axis(top_ids, order, axis=-1)
    hidden = scores.hidden
    if hidden is not None:
        hidden = SparseStates(hidden.length, hidden.positions, _moved(hidden.states, rng))
    return replace(
        scores,
        sampled_logprob=np.minimum(scores.sampled_logprob + noise(), np.float32(-1e-4)),
        topk_ids=top_ids,
        topk_logprobs=top,
        entropy=None if scores.entropy is None else scores.entropy * np.exp(noise()),
        confidence=None if scores.confidence is None else np.minimum(scores.confidence * np.exp(noise()), 1.0),
        hidden=hidden,
    )


def _moved(states: Tensor, rng: np.random.Generator) -> Tensor:
    """Hidden states with a tenth of their own size added at random."""
    if not len(states):
        return states
    move = torch.from_numpy(rng.standard_normal(tuple(states.shape)).astype(np.float32)).to(states)
    return states + 0.1 * states.std() * move
