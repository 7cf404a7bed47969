"""Checks made before a run learns anything: token ids mean the same to both, a row is scored as it was sampled.

If the student, put in the teacher's place, does not reproduce the log-probabilities of its own rollouts, then some
position is off by one, a template differs, a temperature leaks in or a cache is stale, and every advantage of the run
would be wrong without a sign of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from agentdistill.errors import TokenizationError, TrainingError
from agentdistill.learner.heads import split_model
from agentdistill.learner.rows import task_name
from agentdistill.models import compare_tokenizers
from agentdistill.records import ScoreRequest, StopReason, Trajectory
from agentdistill.teachers.scoring import score_rows

PROBES = (
    "You are in the middle of a room.",
    "go to countertop 1",
    "<think>\nLook first.\n</think>\n<action>open fridge 1</action>",
    "  spaces\tand\n\nlines  ",
    "naïve façade, 日本語, 🙂",
    "0123456789 3.14159 [x] {y} <z>",
)
"""Texts that both tokenizers must encode to the same ids."""


@dataclass(frozen=True, slots=True)
class SelfCheck:
    """Result of a self-score check.

    Attributes:
        tokens: sampled tokens compared.
        max_abs: largest |difference| of a log-probability, nats.
        tolerance: what was allowed for the largest.
    """

    tokens: int
    max_abs: float
    tolerance: float

    def __str__(self) -> str:
        return f"self-score |Δ| {self.max_abs:.0e} over {self.tokens} tokens"


def check_self_score(
    student: Any, trajectories: Sequence[Trajectory], *, tolerance: float | None = None, batch_tokens: int = 16384
) -> SelfCheck:
    """Scores rollouts with the student itself and compares with the log-probabilities they were sampled with.

    Args:
        student: the student as it was when it played (a `LoadedModel` or a module).
        trajectories: a few episodes; aborted ones are left out.
        tolerance: largest |difference| allowed, nats; None is 1e-3 for float32 and 0.15 for 16-bit models, whose
            engines round differently.
        batch_tokens: most tokens of a forward pass.

    Returns:
        The measured differences.

    Raises:
        TrainingError: a difference is too large, or there is no sampled token to compare.
    """
    parts = split_model(student)
    allowed = tolerance
    if allowed is None:
        allowed = 1e-3 if parts.weight.dtype in (torch.float32, torch.float64) else 0.15
    played = [t for t in trajectories if t.stop is not StopReason.ABORTED]
    rows = [row for t in played for row in t.rows]
    owners = [t for t in played for _ in t.rows]
    scores = score_rows(parts, rows, ScoreRequest(), batch_tokens=batch_tokens)
    gaps = [np.abs(s.sampled_logprob[r.mask] - r.old_logprob[r.mask]) for s, r in zip(scores, rows, strict=True)]
    tokens = sum(len(gap) for gap in gaps)
    if not tokens:
        raise TrainingError(
            "The self-score check found no token sampled by the student.",
            f"{len(trajectories)} episodes were given, {len(played)} of them finished.",
            "Play at least one episode with the student before checking.",
        )
    flat = np.concatenate(gaps)
    # NaN compares false with everything, so it must fail here and not pass.
    if not bool((flat <= allowed).all()):
        worst = next(i for i, gap in enumerate(gaps) if len(gap) and not bool((gap <= allowed).all()))
        raise TrainingError(
            "The student does not reproduce the log-probabilities of its own rollouts: "
            f"they differ by up to {float(flat.max()):.3g} nats (allowed {allowed:.3g}), "
            f"{int((~(flat <= allowed)).sum())} of {tokens} tokens.",
            f"First seen in the episode {task_name(owners[worst])}. Scores are shifted, rendered from other text, "
            "computed with other weights or taken at another temperature.",
            "Check that the engine has the student's current weights and reports log-probabilities at temperature 1.",
        )
    return SelfCheck(tokens, float(flat.max()), allowed)


def check_same_tokenizer(student: Any, teacher: Any, *, probes: Sequence[str] = PROBES) -> None:
    """Makes sure that a token id means the same to teacher and student. Sizes are not compared: they say nothing.

    Args:
        student: the student's `transformers` tokenizer.
        teacher: the teacher's, or None for a teacher without a vocabulary of its own.
        probes: texts that must encode to the same ids.

    Raises:
        TokenizationError: some id, special token, chat template or encoding differs; the message shows the first.
    """
    if teacher is None:
        return
    compare_tokenizers(student, teacher)
    for text in probes:
        mine = student(text, add_special_tokens=False)["input_ids"]
        theirs = teacher(text, add_special_tokens=False)["input_ids"]
        if mine != theirs:
            raise TokenizationError(
                "The teacher's tokenizer cuts text differently from the student's.",
                f"The same ids mean the same tokens, but {text!r} becomes {mine[:8]} and {theirs[:8]}.",
                "Choose a pair that shares a tokenizer: the teacher reads texts in pieces it has not seen in training.",
            )
