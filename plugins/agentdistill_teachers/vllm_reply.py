"""What a server of vLLM is asked about one token row, and how its answer is read: by token id, never by text.

The prompt of a request is the row itself, as ids; one token is generated because none is refused, and thrown away.
`prompt_logprobs` are taken at temperature 1 whatever a request says. An answer counts only when it is about this very
row: it repeats the ids, has an entry for every position, and each entry contains the token that stands there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agentdistill.clients.completions import BadReply

_MINUS_INFINITY = -9999.0
"""What a server writes for a log-probability of minus infinity, which JSON cannot say."""

_SLACK = 1e-3
"""How far rounding may carry a probability above 1."""


@dataclass(frozen=True, slots=True, eq=False)
class RowScores:
    """What was read of one row, at n positions.

    Attributes:
        sampled: float32 [n], log-probability of the token that stands there.
        top_ids: int32 [n, k], most likely first.
        top_logprobs: float32 [n, k].
    """

    sampled: npt.NDArray[np.float32]
    top_ids: npt.NDArray[np.int32]
    top_logprobs: npt.NDArray[np.float32]


def scoring_body(model: str, ids: Sequence[int], top_k: int) -> dict[str, Any]:
    """The request that scores a row of ids, with the `top_k` most likely tokens of every position."""
    return {
        "model": model,
        "prompt": list(ids),
        "max_tokens": 1,
        "temperature": 0.0,
        "prompt_logprobs": top_k,
        "return_token_ids": True,
        "add_special_tokens": False,
    }


def read_scores(
    answer: Mapping[str, Any], ids: Sequence[int], positions: npt.NDArray[np.int64], top_k: int
) -> RowScores:
    """Reads the scores of some positions.

    Args:
        answer: decoded JSON of a completion.
        ids: the ids that were asked about.
        positions: int64 [n], positions to read, none of them 0.
        top_k: how many of the most likely tokens were asked for.

    Raises:
        BadReply: the answer is cut off, of another shape, about another row, or no log-probabilities.
    """
    entries = _entries(answer, ids)
    sampled = np.empty(len(positions), dtype=np.float32)
    top_ids = np.empty((len(positions), top_k), dtype=np.int32)
    top = np.empty((len(positions), top_k), dtype=np.float32)
    try:
        for line, position in enumerate(positions.tolist()):
            entry = entries[position]
            sampled[line] = _value(entry[str(ids[position])])
            if top_k:
                best = _best(entry, top_k)
                top_ids[line] = [int(name) for name, _ in best]
                top[line] = [_value(score) for _, score in best]
    except (KeyError, TypeError, ValueError) as error:
        raise BadReply(
            f"The scores of position {position} are not those of token {ids[position]}, which stands there.",
            f"They are about {_shown(entries[position])} ({type(error).__name__}).",
            "Something between here and the server mixes answers up, or the server is no vLLM.",
        ) from error
    _check_numbers(sampled, top)
    return RowScores(sampled, top_ids, top)


def _entries(answer: Mapping[str, Any], ids: Sequence[int]) -> Sequence[Any]:
    try:
        choice = answer["choices"][0]
        entries, echoed = choice["prompt_logprobs"], choice.get("prompt_token_ids")
        length = len(entries)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise BadReply(
            "The answer carries no prompt_logprobs.",
            f"It has {', '.join(sorted(answer)) if isinstance(answer, Mapping) else type(answer).__name__}.",
            "The server must support `prompt_logprobs` in completions, as vLLM does.",
        ) from error
    if echoed is not None and list(echoed) != list(ids):
        raise BadReply("The answer is about another prompt.", "It repeats other token ids than were sent.")
    if length != len(ids):
        raise BadReply(f"The answer scores {length} of {len(ids)} tokens.", "It was cut off, or is another prompt's.")
    return entries


def _best(entry: Mapping[str, Any], top_k: int) -> list[tuple[str, Any]]:
    """The `top_k` most likely tokens of an entry, which may hold the token that stands there besides them."""
    if all(score.get("rank") for score in entry.values()):
        best = sorted(entry.items(), key=lambda item: item[1]["rank"])[:top_k]
    else:
        best = sorted(entry.items(), key=lambda item: -item[1]["logprob"])[:top_k]
    if len(best) < top_k:
        raise ValueError(f"{len(best)} tokens instead of {top_k}")
    return best


def _value(score: Mapping[str, Any]) -> float:
    value = float(score["logprob"])
    return value if value > _MINUS_INFINITY else -np.inf


def _check_numbers(sampled: npt.NDArray[np.float32], top: npt.NDArray[np.float32]) -> None:
    mass = np.exp(top.astype(np.float64)).sum(-1)
    largest = max((float(part.max()) for part in (sampled, top) if part.size), default=0.0)
    missing = np.isnan(top).any() or np.isnan(sampled).any()
    if missing or largest > _SLACK or mass.max(initial=0.0) > 1 + _SLACK:
        raise BadReply(
            "The answer holds numbers that are no log-probabilities.",
            f"The largest is {largest:g}, and the most likely tokens have up to {mass.max(initial=0.0):g} of the mass.",
            "Start the server without --logprobs-mode, or with --logprobs-mode raw_logprobs.",
        )


def _shown(entry: Any) -> str:
    return f"the tokens {', '.join(list(entry)[:4])}" if isinstance(entry, Mapping) else repr(entry)[:40]


def advice(status: int, words: str) -> str | None:
    """The flag of the server that lifts what it refuses, where there is one."""
    if status == 404 and "model" in words:
        return "Set teacher.model to a name that the server serves, or start it with the right --served-model-name."
    if status != 400:
        return None
    if found := re.search(r"logprobs of (\d+)", words):
        return f"Start the server with --max-logprobs {found[1]} or more, or ask for fewer tokens (loss.k)."
    if "logprobs" in words and "max" in words:
        return "Start the server with a larger --max-logprobs, or ask for fewer tokens."
    if "context length" in words or "max_model_len" in words or "max_tokens must be at least" in words:
        return "Start the server with a larger --max-model-len: a row needs one token more than it has."
    if "out of vocabulary" in words:
        return "The served model is not of the student's family: its vocabulary is smaller."
    return None
