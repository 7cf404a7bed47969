"""Episodes of given texts, in the rows that a context policy and a tokenizer make of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from made_episodes import make_task, naive_logprobs
from tiny import tiny_model

from agentdistill.conversation.base import Situation
from agentdistill.conversation.rows import RowBuilder
from agentdistill.conversation.template import renderer_for
from agentdistill.models import LoadedModel, fingerprint
from agentdistill.records import EpisodePlan, Step, StopReason, Trajectory
from agentdistill_contexts.append import AppendConfig, AppendContext
from agentdistill_contexts.window import WindowConfig, WindowContext

TURNS = (
    ("You are in the middle of a room. Looking quickly around you, you see a desk 1, and a shelf 3.", "go to desk 1"),
    ("On the desk 1, you see a mug 1, and a pencil 2.", "take mug 1 from desk 1"),
    ("You take it; naïve façade.", "<think>\nThe desk is near 日本.\n</think>\n<action>open drawer 2</action>"),
    ("Nothing happens.", "move mug 1 to shelf 3"),
)


def loaded(tokenizer: Any, seed: int = 0, **config: Any) -> LoadedModel:
    """A tiny model with as many ids as a tokenizer, and a few more for padding."""
    model = tiny_model(seed, vocab=len(tokenizer) + 5, **config)
    return LoadedModel(model, tokenizer, f"tiny-{seed}", None, fingerprint(model, tokenizer))


def append(**options: Any) -> AppendContext:
    return AppendContext(AppendConfig(**options))


def window(**options: Any) -> WindowContext:
    return WindowContext(WindowConfig(**options))


def conversation(
    student: LoadedModel,
    context: Any,
    turns: Sequence[tuple[str, str]] = TURNS,
    *,
    responses: Sequence[Sequence[int] | None] = (),
    cut: Sequence[int] = (),
    guided: Sequence[int] = (),
    key: str = "task",
) -> Trajectory:
    """An episode whose responses are the student's, with its log-probabilities.

    Args:
        student: its model and tokenizer.
        context: the context policy.
        turns: observation and response of each.
        responses: token ids of responses in the place of those of their texts; None is those of the text.
        cut: turns that ended without a terminator.
        guided: turns somebody else played.
        key: of the task.
    """
    renderer = renderer_for(student.tokenizer, context)
    builder, steps = RowBuilder(renderer), []
    goal = "put a mug in shelf"
    for index, (observation, text) in enumerate(turns):
        info = {"admissible_actions": ["go to desk 1", "look"]}
        builder.turn(context.messages(Situation(goal, observation, info["admissible_actions"], list(steps))))
        own = responses[index] if index < len(responses) else None
        ids = list(own) if own is not None else renderer.response(text)[:-1]
        if index not in cut:
            ids = [*ids, renderer.terminator]
        if index in guided:
            builder.written(index, ids, learn=False)
            place = (-1, 0, 0)
        else:
            place = builder.sampled(index, ids, [0.0] * len(ids))
        response = renderer.decode(ids)
        row, start, end = place
        steps.append(Step(index, observation, response, text, row=row, start=start, end=end, info=info))
    rows = builder.rows()
    for row in rows:
        with torch.no_grad():
            row.old_logprob[row.mask] = naive_logprobs(student.model, row.token_ids).numpy()[row.mask]
    meta = {"goal": goal}
    return Trajectory(make_task(key), EpisodePlan(), steps, rows, StopReason.SUCCESS, meta=meta)


def spelled(tokenizer: Any, text: str) -> list[int]:
    """The text one character at a time: tokens that the tokenizer itself would not choose."""
    return [i for c in text for i in tokenizer.encode(c, add_special_tokens=False)]


def span_of(logprobs: np.ndarray, start: int, end: int) -> float:
    return float(logprobs[start:end].astype(np.float64).sum())
