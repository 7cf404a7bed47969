"""What the student wrote and did, as no loss sees it: repetition, cut-off responses, turns without progress.

Windows are scaled to turns: an agent's response is a few hundred characters, not ten thousand.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import pairwise

from agentdistill.records import Actor, Step, Trajectory

TAIL = 400
"""Characters at the end of a response that are looked at."""

COMPRESSED = 4.0
"""A tail that zlib makes this many times smaller repeats itself (arXiv 2604.08527 uses 10 over 10,000 characters)."""

WORDS = 8
"""Fewest words of a response whose 3-grams are counted."""


def repeats(response: str) -> bool:
    """Whether the end of a response repeats itself.

    Args:
        response: text; one of fewer than 100 characters cannot be compressed that far and never counts.
    """
    tail = response[-TAIL:].encode()
    return bool(tail) and len(tail) / len(zlib.compress(tail)) > COMPRESSED


def trigram_repetition(response: str) -> float | None:
    """Share of a response's word 3-grams that were there before; None for a short one."""
    words = response.split()
    if len(words) < WORDS:
        return None
    grams = list(zip(words, words[1:], words[2:], strict=False))
    return 1.0 - len(set(grams)) / len(grams)


def no_progress(trajectory: Trajectory) -> int:
    """The student's turns that do again, in the same place, what was just done."""
    return sum(
        after.actor is Actor.STUDENT and (before.observation, before.action) == (after.observation, after.action)
        for before, after in pairwise(trajectory.steps)
    )


def play_metrics(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """Rates over the student's own turns.

    Args:
        trajectories: episodes, aborted ones left out.

    Returns:
        `rollout/repetition_rate`, `rollout/trigram_repetition`, `rollout/truncated_rate`, `rollout/no_progress_rate`,
        `rollout/turn_tokens` (mean) and `rollout/turn_tokens_max`; nothing without a turn.
    """
    own: list[Step] = [s for t in trajectories for s in t.steps if s.actor is Actor.STUDENT and s.row >= 0]
    if not own:
        return {}
    lengths = [step.end - step.start for step in own]
    grams = [share for step in own if (share := trigram_repetition(step.response)) is not None]
    metrics = {
        "rollout/repetition_rate": sum(repeats(step.response) for step in own) / len(own),
        "rollout/truncated_rate": sum(step.info.get("finish") == "length" for step in own) / len(own),
        "rollout/no_progress_rate": sum(map(no_progress, trajectories)) / len(own),
        "rollout/turn_tokens": sum(lengths) / len(own),
        "rollout/turn_tokens_max": float(max(lengths)),
    }
    if grams:
        metrics["rollout/trigram_repetition"] = sum(grams) / len(grams)
    return metrics
