"""Stored episodes as candidates of a selection: rendered and scored by each model, with its own tokenizer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from agentdistill.errors import DataError
from agentdistill.records import Actor, LossRole, ScoreRequest, Step, Trajectory
from agentdistill.training.selection import Candidate, ScoredResponse, TokenView

if TYPE_CHECKING:
    from agentdistill.conversation.base import ContextPolicy
    from agentdistill.models import LoadedModel

Load = Callable[[], "LoadedModel"]


def scored_candidates(
    trajectories: Sequence[Trajectory],
    models: Mapping[str, Load],
    context: ContextPolicy,
    batch_tokens: int = 16384,
    told: Callable[[str], None] = lambda line: None,
) -> list[Candidate]:
    """Scores what would be imitated of each episode.

    Models are loaded one after the other, so that two never need memory at the same time.

    Args:
        trajectories: stored episodes; their text is used, never their tokens.
        models: by part, a function that loads the model.
        context: the context policy that students will be trained with.
        batch_tokens: most tokens of a forward pass.
        told: called with a line about each model.

    Returns:
        One candidate per episode.

    Raises:
        DataError: an episode cannot be shown with this context policy, or a model cannot score its text.
    """
    texts: list[dict[int, str]] = []
    views: dict[str, list[dict[int, TokenView]]] = {}
    for part, load in models.items():
        loaded = load()
        told(f"{part:8} {loaded.name} ({loaded.fingerprint[:12]})")
        shown = [imitable(trajectory) for trajectory in trajectories]
        texts, views[part] = _read(shown, loaded, context, batch_tokens)
        del loaded
    return [
        Candidate(
            trajectory,
            [
                ScoredResponse(step, text, {part: found[place][step] for part, found in views.items()})
                for step, text in texts[place].items()
            ],
        )
        for place, trajectory in enumerate(trajectories)
    ]


def imitable(trajectory: Trajectory) -> Trajectory:
    """The episode with the role IMITATE for a model's own turns; an expert's have it already."""
    steps = [
        dataclasses.replace(step, loss_role=LossRole.IMITATE)
        if step.actor is not Actor.EXPERT and step.loss_role is LossRole.DISTILL
        else step
        for step in trajectory.steps
    ]
    return dataclasses.replace(trajectory, steps=steps)


def _read(
    trajectories: Sequence[Trajectory], loaded: LoadedModel, context: ContextPolicy, batch_tokens: int
) -> tuple[list[dict[int, str]], list[dict[int, TokenView]]]:
    """Text and view of each response, by episode and step index."""
    from agentdistill.conversation.template import renderer_for
    from agentdistill.learner.heads import split_model
    from agentdistill.models import generation_stop_ids
    from agentdistill.rollout.demonstrate import tokenize_demonstration
    from agentdistill.teachers.scoring import score_rows

    renderer = renderer_for(loaded.tokenizer, context, extra_stop_ids=generation_stop_ids(loaded.model))
    tokenised = [tokenize_demonstration(trajectory, renderer, context) for trajectory in trajectories]
    rows = [row for trajectory in tokenised for row in trajectory.rows]
    scores = iter(score_rows(split_model(loaded), rows, ScoreRequest(), batch_tokens=batch_tokens))
    texts: list[dict[int, str]] = []
    views: list[dict[int, TokenView]] = []
    for trajectory in tokenised:
        scored = [next(scores).sampled_logprob for _ in trajectory.rows]
        steps = [step for step in trajectory.steps if step.row >= 0]
        texts.append({step.index: step.response for step in steps})
        views.append({step.index: _view(step, trajectory, scored[step.row], loaded.tokenizer) for step in steps})
    return texts, views


def _view(step: Step, trajectory: Trajectory, logprob: Any, tokenizer: Any) -> TokenView:
    ids = trajectory.rows[step.row].token_ids[step.start : step.end].tolist()
    spans = token_spans(ids, step.response, tokenizer)
    inside = spans[:, 0] < len(step.response)  # the terminator and what follows it say nothing about the text
    values = np.asarray(logprob[step.start : step.end], dtype=np.float32)[inside]
    if not np.isfinite(values).all():
        raise DataError(
            f"A model finds a token of step {step.index} of the task {trajectory.task.key!r} impossible.",
            "Its log-probability is not a finite number.",
            "Score with another dtype, or leave the episode out.",
        )
    return TokenView(spans[inside], values)


def token_spans(ids: Sequence[int], text: str, tokenizer: Any) -> np.ndarray:
    """The characters of a text that each token adds.

    A token that ends within a character (byte-level tokenizers) adds it only when it is complete.

    Args:
        ids: the text's tokens, perhaps with a terminator.
        text: the text.
        tokenizer: that made them.

    Returns:
        int64 [n, 2], not falling.
    """
    spans = np.zeros((len(ids), 2), dtype=np.int64)
    reach = 0
    for place in range(len(ids)):
        decoded = tokenizer.decode(ids[: place + 1], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        begin = reach
        while reach < min(len(decoded), len(text)) and decoded[reach] == text[reach]:
            reach += 1
        spans[place] = begin, reach
    return spans
