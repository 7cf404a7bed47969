"""Drops responses that ran into the token limit (`rollout.max_new_tokens`).

A cut response has no end: its tail is often a loop, its action was guessed from a fragment or is missing, and training
on it teaches to go on. Length inflation feeds itself that way within some thirty steps (arXiv 2604.08527). With
`whole_episode` one cut response drops its episode.

Whether a response was cut is what the engine reported (`finish` = "length" in the step's info).

The paper measures what cut responses do and answers with a reference KL and gold data (the loss `stableopd`); leaving
them out is what most trainers offer besides.

Defaults: the turn alone. Proofs: tests/filters/test_turns.py (turn, episode, steps without a report).
"""

from __future__ import annotations

import numpy as np

from agentdistill.plugins import PluginConfig
from agentdistill.training.rewarded import ScoredBatch
from agentdistill_filters.keep import Keep


class TruncatedConfig(PluginConfig):
    """How much is dropped.

    Attributes:
        whole_episode: drop the whole episode of a cut response.
    """

    whole_episode: bool = False


def truncated(batch: ScoredBatch, config: TruncatedConfig) -> Keep:
    """Turns that ended by themselves."""
    kept = [np.array([s.info.get("finish") != "length" for s in t.steps], dtype=bool) for t in batch.trajectories]
    return [np.full_like(k, k.all()) for k in kept] if config.whole_episode else kept
