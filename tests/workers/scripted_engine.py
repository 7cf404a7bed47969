"""An engine that follows a script, and the comparison of what was played to the last bit."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from tiny import tiny_tokenizer

from agentdistill.codec import trajectory_to_dict
from agentdistill.conversation.template import ChatRenderer
from agentdistill.engines.base import Generation, GenerationRequest, Sampling
from agentdistill.records import Trajectory
from agentdistill.rollout.play import EpisodeRequest, RolloutSettings, play
from agentdistill_contexts.append import AppendConfig, AppendContext

CONTEXT = AppendContext(AppendConfig())


class ScriptedEngine:
    """Says something that depends on the request's seed only; a call may take time."""

    context_length = 1 << 20

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.tokenizer = tiny_tokenizer()
        self.batches: list[list[str]] = []

    def generate(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> list[Generation]:
        self.batches.append([request.session for request in requests])
        time.sleep(self.seconds)
        ids = [[*self.tokenizer.encode(f"go {request.seed % 1000}"), 2] for request in requests]
        return [Generation(tokens, [-0.5] * len(tokens), "stop") for tokens in ids]

    def release(self, sessions: Any) -> None: ...

    def sync(self, policy_version: int) -> None: ...


def played(
    source: Any, requests: list[EpisodeRequest], engine: Any = None, on_episode: Any = None, **settings: Any
) -> list[Trajectory]:
    return play(
        requests, source=source, engine=engine or ScriptedEngine(), renderer=ChatRenderer(tiny_tokenizer()),
        context=CONTEXT, settings=RolloutSettings(**settings), on_episode=on_episode,
    )  # fmt: skip


def exactly(trajectories: list[Trajectory]) -> str:
    """Everything about trajectories, to the last bit."""
    return json.dumps([trajectory_to_dict(trajectory) for trajectory in trajectories], sort_keys=True)
