"""Corridor episodes with the log-probabilities of a tiny real model, for teachers that are shown something else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from made_episodes import naive_logprobs
from rollout.toy_world import CorridorSource, ScriptedEngine, renderer, right
from tiny import tiny_model, tiny_tokenizer

from agentdistill.models import LoadedModel, fingerprint
from agentdistill.records import Actor, EpisodePlan, LossRole, Task, Trajectory
from agentdistill.rollout.episode import EpisodeRequest, RolloutSettings
from agentdistill.rollout.guide import ModelGuide
from agentdistill.rollout.play import play
from agentdistill_contexts.append import AppendConfig, AppendContext
from agentdistill_contexts.window import WindowConfig, WindowContext

APPEND = AppendContext(AppendConfig())
ADMISSIBLE = AppendContext(AppendConfig(admissible=True, system="You are in a corridor."))
WINDOW = WindowContext(WindowConfig(think=False))
CONTEXTS = {"append": APPEND, "admissible": ADMISSIBLE, "window": WINDOW}
RENDERER = renderer()


def clumsy(session: str, turn: int, prompt: str) -> str:
    """Dances first and then walks right."""
    return "dance" if turn == 0 else right(session, turn - 1, prompt)


def tagged(answer: Callable[[str, int, str], str]) -> Callable[[str, int, str], str]:
    """The same, as windowed contexts want it; there it does not know the way, and walks on."""
    return lambda session, turn, prompt: f"<action>{'dance' if turn == 0 else 'ahead'}</action>"


def corridors(
    answer: Callable[[str, int, str], str] = clumsy,
    *,
    keys: Sequence[str] = ("0", "0", "2"),
    context: Any = APPEND,
    finish: str = "stop",
    guide: float = 0.0,
    guide_role: LossRole = LossRole.NONE,
    prefix: tuple[str, ...] = (),
    horizon: int | None = None,
    expert: bool = False,
    model: Any = None,
) -> list[Trajectory]:
    """Plays corridors; equal keys are siblings. With a model, the log-probabilities are that model's."""
    plan = EpisodePlan(prefix=prefix, guide=guide, guide_actor=Actor.TEACHER, guide_role=guide_role, horizon=horizon)
    requests = [
        EpisodeRequest(Task("corridor", "train", key, type="long" if key == "1" else "short"), plan, n, seed=n)
        for n, key in enumerate(keys)
    ]
    said = tagged(answer) if isinstance(context, WindowContext) else answer
    played = play(
        requests, source=CorridorSource(), engine=ScriptedEngine(said, finish), renderer=RENDERER, context=context,
        settings=RolloutSettings(max_steps=9, want_expert=expert),
        guides={Actor.TEACHER: ModelGuide(ScriptedEngine(tagged(right) if said is not answer else right))},
    )  # fmt: skip
    return played if model is None else [scored_by(model, trajectory) for trajectory in played]


def scored_by(model: Any, trajectory: Trajectory) -> Trajectory:
    """The episode as if the model had sampled it."""
    rows = []
    for row in trajectory.rows:
        with torch.no_grad():
            logprob = naive_logprobs(model, row.token_ids).numpy()
        rows.append(dataclasses.replace(row, old_logprob=np.where(row.mask, logprob, np.nan).astype(np.float32)))
    return dataclasses.replace(trajectory, rows=rows)


def student(seed: int = 0, **config: Any) -> LoadedModel:
    """A tiny real model with its tokenizer."""
    model, tokenizer = tiny_model(seed, hidden=32, **config), tiny_tokenizer()
    return LoadedModel(model, tokenizer, "tiny", None, fingerprint(model, tokenizer))


def text(ids: Any) -> str:
    """What token ids say."""
    return str(RENDERER.tokenizer.decode(np.asarray(ids).tolist(), skip_special_tokens=False))
