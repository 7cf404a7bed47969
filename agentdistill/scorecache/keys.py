"""What a teacher's scores depend on, as one key; and which kept answer serves which question."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from agentdistill.records import ScoreRequest, TeacherScores, TokenRow, Trajectory
from agentdistill.teachers.optional import cache_key


def score_key(teacher: str, vocabulary: str, extra: str, rows: Sequence[TokenRow]) -> str:
    """SHA-256 over everything the scores of an episode may depend on, except for what was asked.

    Who wrote a token is part of it (`step_of_token`, `mask`): a teacher may score written tokens only. The student's
    own log-probabilities are not.

    Args:
        teacher: the teacher's fingerprint: weights, tokenizer, temperature, options.
        vocabulary: fingerprint of the tokenizer the ids belong to; "" when the teacher's fingerprint covers it.
        extra: the teacher's own `cache_key` of the episode; "" without one.
        rows: the episode's token rows, in order.

    Returns:
        64 hex digits, the same on every machine.
    """
    sha = hashlib.sha256()
    for part in (teacher, vocabulary, extra):
        text = part.encode()
        sha.update(len(text).to_bytes(8, "little") + text)
    for row in rows:
        sha.update(len(row).to_bytes(8, "little"))
        sha.update(np.ascontiguousarray(row.token_ids, dtype="<i4").tobytes())
        sha.update(np.ascontiguousarray(row.step_of_token, dtype="<i4").tobytes())
        sha.update(np.packbits(np.asarray(row.mask, dtype=bool)).tobytes())
    return sha.hexdigest()


def serves(kept: ScoreRequest, asked: ScoreRequest) -> bool:
    """Whether the answer to one request holds, bit for bit, the answer to another.

    What was not asked for can be left out. The k most likely tokens are those of one k only (equal probabilities may
    be cut otherwise), and so are an entropy and anything else that may have been estimated from them.
    """
    if kept == asked:
        return True
    given = all(getattr(kept, name) or not getattr(asked, name) for name in ("sampled", "hidden", "confidence"))
    top = kept.top_k == asked.top_k or (not asked.top_k and not asked.entropy)
    return given and top and (kept.entropy or not asked.entropy)


def narrowed(scores: TeacherScores, kept: ScoreRequest, asked: ScoreRequest) -> TeacherScores:
    """The part of an answer that was asked for; an answer to the very request stays as the teacher gave it."""
    if kept == asked:
        return scores
    top = asked.top_k > 0
    return dataclasses.replace(
        scores,
        topk_ids=scores.topk_ids if top else None,
        topk_logprobs=scores.topk_logprobs if top else None,
        entropy=scores.entropy if top or asked.entropy else None,
        confidence=scores.confidence if asked.confidence else None,
        hidden=scores.hidden if asked.hidden else None,
    )


def episode_keys(teacher: Any, fingerprint: str, vocabulary: str, trajectories: Sequence[Trajectory]) -> list[str]:
    """The keys of episodes, the teacher's own `cache_key` of each included where it has one."""
    extras = [cache_key(teacher, trajectory) for trajectory in trajectories]
    return [score_key(fingerprint, vocabulary, e, t.rows) for e, t in zip(extras, trajectories, strict=True)]
