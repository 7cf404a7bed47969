"""Responses restricted to a list of token sequences: one token at a time, for all conversations together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from agentdistill.engines.base import Finish, Generation, GenerationRequest, Sampling
from agentdistill_engines.sampling import AllowedTokens
from agentdistill_engines.vllm_backend import Ask, Backend, Draw


@dataclass(slots=True)
class _Walk:
    request: GenerationRequest
    tree: AllowedTokens
    room: int
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    top: list[list[int]] = field(default_factory=list)


def constrained(
    backend: Backend, requests: Sequence[GenerationRequest], draw: Draw, context: int, sampling: Sampling
) -> list[Generation]:
    """Walks each conversation's tree of allowed responses; vLLM samples among the tokens that may come next.

    Constraining by text would leave the choice of the tokens to vLLM's own tokenizer; here they are the very ones that
    the run renders. The prefix cache makes the many short requests cheap.

    Args:
        backend: samples.
        requests: each with its allowed sequences.
        draw: how to sample.
        context: most tokens of a row.
        sampling: limits.
    """
    walks = [
        _Walk(
            request,
            AllowedTokens(request.allowed or (), draw.stop_ids),
            min(sampling.max_new_tokens, context - len(request.prompt)),
        )
        for request in requests
    ]
    single = Draw(draw.temperature, draw.top_p, (), draw.top)
    done: dict[int, Generation] = {}
    while going := [place for place in range(len(walks)) if place not in done]:
        asks = [_ask(walks[place]) for place in going]
        for place, answer in zip(going, backend.sample(asks, single), strict=True):
            walk, (token,) = walks[place], answer.ids
            walk.tree.take(token)
            walk.ids.append(token)
            walk.logprobs.append(answer.logprobs[0])
            walk.top.append(sorted(answer.top[0], key=lambda index: -answer.top[0][index])[: draw.top])
            if token in draw.stop_ids or len(walk.ids) == walk.room:
                finish: Finish = "stop" if token in draw.stop_ids else "length"
                done[place] = Generation(walk.ids, walk.logprobs, finish, top_ids=walk.top if draw.top else None)
    return [done[place] for place in range(len(walks))]


def _ask(walk: _Walk) -> Ask:
    prompt = [*walk.request.prompt, *walk.ids]
    # A stream of its own for every position: with one seed for all, each token would get the same draw.
    seed = (walk.request.seed + 0x9E3779B97F4A7C15 * (len(walk.ids) + 1)) % 2**64
    return Ask(prompt, seed, 1, walk.tree.choices())
