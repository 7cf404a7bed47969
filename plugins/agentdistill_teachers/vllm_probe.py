"""Looks at a server before a run relies on it: who it is, whether ids mean the same, whether its scores are scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agentdistill.clients.completions import CompletionsClient
from agentdistill.clients.errors import EndpointError
from agentdistill.errors import ConfigError, TokenizationError, TrainingError
from agentdistill.hashing import digest
from agentdistill.learner.heads import split_model
from agentdistill.models import LoadedModel
from agentdistill.records import ScoreRequest, Trajectory
from agentdistill.teachers.scoring import score_rows
from agentdistill.teachers.selfcheck import PROBES
from agentdistill_teachers.vllm_reply import RowScores

_CHUNK, _ROWS = 4096, 8
_CHAT = (
    {"role": "system", "content": "You act in a house."},
    {"role": "user", "content": "You are in the middle of a room."},
    {"role": "assistant", "content": "go to desk 1"},
    {"role": "user", "content": "The desk is empty."},
)
"""A conversation that both chat templates must write the same way."""


@dataclass(frozen=True, slots=True)
class Served:
    """A model as its server describes it.

    Attributes:
        name: what requests call it.
        root: what it was loaded from; "" when the server does not say.
        parent: the model an adapter lies on; "" for none.
        limit: most tokens of a request, the generated one included; 0 when the server does not say.
    """

    name: str
    root: str
    parent: str
    limit: int

    def __str__(self) -> str:
        last = self.root.rstrip("/").rpartition("/")[2]
        return self.name if self.name == self.root or last in ("", self.name) else f"{self.name} ({last})"


def served_model(client: CompletionsClient) -> Served:
    """The model that requests are sent to.

    Raises:
        ConfigError: the server has no model of that name, or several and none was named.
        EndpointError: the server cannot be asked.
    """
    config = client.config
    try:
        listed = client.get(f"{config.url}/models")
        models = {str(entry["id"]): entry for entry in listed["data"]}
    except (KeyError, TypeError) as error:
        raise ConfigError(
            f"{config.url}/models does not list models.",
            "It is no OpenAI-compatible server.",
            "teacher.url ends where /completions begins, usually in /v1.",
        ) from error
    names = ", ".join(models) or "nothing"
    if config.model is None and len(models) != 1:
        raise ConfigError(f"{config.url} serves {names}.", "", "Set teacher.model to one of them.")
    name = config.model or next(iter(models))
    if name not in models:
        raise ConfigError(
            f"{config.url} does not serve `{name}`.",
            f"It serves {names}.",
            "Correct teacher.model or teacher.url, or start the server with that model.",
        )
    entry = models[name]
    root, parent, limit = entry.get("root"), entry.get("parent"), entry.get("max_model_len")
    return Served(name, str(root or ""), str(parent or ""), int(limit or 0))


def compare_tokens(client: CompletionsClient, name: str, tokenizer: Any) -> str:
    """Compares the student's tokenizer with the server's: texts, every id, and the chat template.

    Args:
        client: asks the server.
        name: the served model.
        tokenizer: the student's.

    Returns:
        A line for people, which says so when the server offers no way to compare.

    Raises:
        TokenizationError: they differ.
    """
    address = client.config.root
    try:
        for text in PROBES:
            body = {"model": name, "prompt": text, "add_special_tokens": False}
            theirs = client.post(f"{address}/tokenize", body)["tokens"]
            mine = tokenizer(text, add_special_tokens=False)["input_ids"]
            if list(theirs) != list(mine):
                raise _differ(f"{text!r} is {list(mine)[:8]} to the student and {list(theirs)[:8]} to the server")
        _compare_ids(client, name, tokenizer, 0, len(tokenizer))
    except EndpointError as error:
        if error.status in (400, 404, 405):
            return "its tokenizer cannot be asked, so nobody compared token ids; set teacher.tokenizer to compare"
        raise
    asked = {"model": name, "messages": list(_CHAT), "add_generation_prompt": True, "add_special_tokens": False}
    mine = tokenizer.apply_chat_template(list(_CHAT), add_generation_prompt=True, tokenize=True, return_dict=False)
    try:
        theirs = client.post(f"{address}/tokenize", asked)["tokens"]
    except EndpointError as error:
        if error.status != 400:
            raise
        return f"its {len(tokenizer):,} token ids are the student's; it has no chat template to compare"
    here, there = digest(list(mine))[:8], digest(list(theirs))[:8]
    if here != there:
        raise TokenizationError(
            "The served teacher has the student's tokens but another chat template.",
            f"A short conversation has hash {here} for the student and {there} for the teacher.",
            "Start the server with the student's template (--chat-template) if its model can read it.",
        )
    return f"its {len(tokenizer):,} token ids and its chat template ({here}) are the student's"


def _compare_ids(client: CompletionsClient, name: str, tokenizer: Any, start: int, end: int) -> None:
    """Compares what ids decode to, many at a time; where some differ, looks closer."""
    for begin in range(start, end, _CHUNK):
        ids = list(range(begin, min(begin + _CHUNK, end)))
        mine = tokenizer.decode(ids)
        theirs = client.post(f"{client.config.root}/detokenize", {"model": name, "tokens": ids})["prompt"]
        if mine == theirs:
            continue
        if len(ids) == 1:
            raise _differ(f"id {begin} is {mine!r} to the student and {theirs!r} to the server")
        middle = (ids[0] + ids[-1] + 1) // 2
        _compare_ids(client, name, tokenizer, begin, middle)
        _compare_ids(client, name, tokenizer, middle, ids[-1] + 1)
        raise _differ(f"ids from {begin} on decode differently together")


def _differ(example: str) -> TokenizationError:
    return TokenizationError(
        "The served teacher has another tokenizer than the student.",
        f"{example[0].upper()}{example[1:]}.",
        "Serve a model of the student's family, or use a teacher that works across tokenizers.",
    )


def check_scores(
    teacher: Any, trajectories: Sequence[Trajectory], top_k: int, tolerance: float, reference: LoadedModel | None
) -> list[str]:
    """Scores a few rows twice, in another order and company, and compares them with those of a model in this process.

    Args:
        teacher: the served teacher.
        trajectories: a few episodes of the student.
        top_k: most likely tokens that the run will ask for, at least 1.
        tolerance: largest difference allowed, nats.
        reference: the served model, loaded here; None compares with nothing.

    Returns:
        Lines for people; none without a row to score.

    Raises:
        TrainingError: a difference is too large.
    """
    rows = [row for t in trajectories for row in t.rows if len(teacher.positions(row))][:_ROWS]
    at = [teacher.positions(row) for row in rows]
    if not rows:
        return []
    once = _sampled(teacher.rows.ask(rows, at, top_k))
    again = _sampled(teacher.rows.ask(rows[::-1], at[::-1], top_k))[::-1]
    tokens = sum(map(len, at))
    gap = _agree(once, again, tolerance, "when it is asked again")
    lines = [f"{tokens:,} tokens of {len(rows)} rows scored twice, in another order: |Δ| {gap:.0e} ok"]
    if reference is not None:
        local = score_rows(split_model(reference), rows, ScoreRequest(), positions=teacher.config.positions)
        here = [scores.sampled_logprob[places] for scores, places in zip(local, at, strict=True)]
        gap = _agree(once, here, tolerance, f"from {reference.name} computed here")
        lines.append(f"served scores against {reference.name} computed here: |Δ| {gap:.0e} ok")
    return lines


def _sampled(found: Sequence[RowScores | None]) -> list[npt.NDArray[np.float32] | None]:
    return [None if scores is None else scores.sampled for scores in found]


def _agree(one: Sequence[Any], other: Sequence[Any], tolerance: float, whose: str) -> float:
    """Largest difference over the rows that both have; rows that an outage left out have nothing to compare."""
    both = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    gap = max((largest_gap(a, b) for a, b in both), default=0.0)
    if not gap <= tolerance:
        raise TrainingError(
            f"The served teacher's scores differ by up to {gap:.3g} nats (allowed {tolerance:g}) {whose}.",
            "Answers are mixed up, another model is served, or it computes in low precision.",
            "Look at what is served, or raise teacher.tolerance if the server rounds that much.",
        )
    return gap


def largest_gap(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    """Largest |difference| of scores; infinite where only one of them is missing."""
    if len(one) != len(other) or (np.isfinite(one) != np.isfinite(other)).any():
        return float("inf")
    both = np.isfinite(one)
    return float(np.abs(one[both] - other[both]).max(initial=0.0))
