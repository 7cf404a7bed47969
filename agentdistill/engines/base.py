"""The engine contract: token ids in, sampled token ids and log-probabilities out, in batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from agentdistill.conversation.base import Situation
from agentdistill.records import Actor

Finish = Literal["stop", "length", "context"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample.

    Attributes:
        max_new_tokens: most tokens of one response, the terminator included.
        stop_ids: token ids that end a response; the stop token is part of the returned tokens.
        temperature: 0 is greedy.
        top_p: nucleus mass, 1 is off.
        entropy: report the entropy of each sampled token's distribution.
        top_k: report the most likely tokens, that many; 0 is none.
    """

    max_new_tokens: int
    stop_ids: tuple[int, ...]
    temperature: float = 1.0
    top_p: float = 1.0
    entropy: bool = False
    top_k: int = 0


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One turn to sample.

    Attributes:
        session: conversation the prompt belongs to. An engine may keep that conversation's KV cache and feed
            only what the prompt adds to it; a prompt that rewrites history simply shares a shorter prefix.
        prompt: all token ids of the row so far.
        seed: seed of this request's sampling; results do not depend on what else is in the batch.
        allowed: token sequences (terminator included) the response is restricted to, or None.
        situation: what the prompt was made from, for engines that ask somebody who reads words; None when the prompt
            is all there is.
    """

    session: str
    prompt: Sequence[int]
    seed: int = 0
    allowed: tuple[tuple[int, ...], ...] | None = None
    situation: Situation | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """One sampled turn.

    Attributes:
        token_ids: sampled tokens, the stop token included when finish is "stop".
        logprobs: log-probability of each at temperature 1 and top_p 1, unconstrained.
        finish: "stop", "length" (max_new_tokens reached) or "context" (the prompt plus one token does not fit
            the context; token_ids is then empty, nothing was truncated).
        entropies: entropy of each token's distribution at temperature 1, nats; None when not asked for.
        top_ids: the most likely ids at each token, most likely first; None when not asked for.
        actor: who wrote it. A turn of anybody but the student is recorded as theirs, and its tokens are never taken
            for the student's.
        text: the words as they were written, where the tokens are only how the student's tokenizer puts them.
        info: small plain extras for the step, e.g. what the turn cost.
    """

    token_ids: list[int]
    logprobs: list[float]
    finish: Finish
    entropies: list[float] | None = None
    top_ids: list[list[int]] | None = None
    actor: Actor = Actor.STUDENT
    text: str | None = None
    info: Mapping[str, Any] = field(default_factory=dict)


class Engine(Protocol):
    """Samples from the student.

    An engine may have `capabilities`, a subset of {"entropy", "top_ids"}: what it reports of each sampled token when
    `Sampling` asks for it. A run that needs more stops at start.

    One that lets others write turns has `players`, who plays in a few words, and `provenance()`, plain data about them;
    both go into every result, so that nobody takes it for the student's alone.

    One that lives elsewhere may also have `check(trajectories)`, asked once before a run starts, which returns lines
    for people or raises; `metrics()`, numbers since the last call, logged as `engine/NAME`; `close()`, at the end of a
    run; and `renderer`, with which it plays without any student (`--agent URL`). Where its class has `available()`,
    which says whether it can serve a model directory on this machine, exported students are checked in it.
    """

    @property
    def context_length(self) -> int:
        """Most tokens of a row, prompt and response together."""
        ...

    def generate(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> list[Generation]:
        """Samples one response for each request; results are in the order of the requests."""
        ...

    def release(self, sessions: Iterable[str]) -> None:
        """Forgets conversations."""
        ...

    def sync(self, policy_version: int) -> None:
        """Called after each optimiser step: drops caches computed with older weights, loads newer ones."""
        ...


def engine_metrics(engine: Engine) -> dict[str, float]:
    """The engine's own numbers since the last call, as `engine/NAME`; none without `metrics`."""
    own = getattr(engine, "metrics", None)
    return {} if own is None else {f"engine/{name}": float(value) for name, value in own().items()}
