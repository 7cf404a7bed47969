"""What the engine `vllm` wants of a vLLM, wherever that runs: sampling by token ids, new weights, an empty cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from agentdistill.models import LoadedModel
    from agentdistill_engines.vllm_config import Way

ADAPTER = "agentdistill-student"
"""Name under which the student's adapter is served."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One response to sample.

    Attributes:
        prompt: token ids.
        seed: any integer.
        most: most tokens of the response.
        allowed: the only ids that may be sampled; None is all.
    """

    prompt: Sequence[int]
    seed: int
    most: int
    allowed: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class Draw:
    """How to sample.

    Attributes:
        temperature: 0 is greedy.
        top_p: nucleus mass, 1 is off.
        stop_ids: ids that end a response, and the only ones that do.
        top: how many of the most likely ids to report at each token.
    """

    temperature: float
    top_p: float
    stop_ids: tuple[int, ...]
    top: int = 0

    def body(self, ask: Ask) -> dict[str, Any]:
        """The request's parameters, all of them named: what is left out would come from the model's own defaults."""
        return {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "seed": ask.seed % (2**63),
            "max_tokens": ask.most,
            "ignore_eos": True,
            "stop_token_ids": list(self.stop_ids),
            "logprobs": self.top,
            "allowed_token_ids": None if ask.allowed is None else list(ask.allowed),
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """One sampled response.

    Attributes:
        ids: sampled tokens, the stop token included.
        logprobs: of each, at temperature 1 and before any restriction, nats.
        finish: vLLM's own word.
        top: at each token the log-probabilities of the most likely ids, if they were asked for.
    """

    ids: list[int]
    logprobs: list[float]
    finish: str
    top: Sequence[Mapping[int, float]]


class Backend(Protocol):
    """A vLLM."""

    name: str
    """What it is, for people."""
    context_length: int
    """Most tokens of prompt and response together."""
    fresh: bool
    """It has just read the very weights that the student has."""

    def sample(self, asks: Sequence[Ask], draw: Draw) -> list[Answer]:
        """One response for each, in order."""
        ...

    def push(self, model: LoadedModel, way: Way) -> None:
        """Puts the student's weights in the place of the served ones."""
        ...

    def reset(self) -> None:
        """Forgets the keys and values of older weights."""
        ...

    def close(self) -> None:
        """Lets go of memory and processes."""
        ...
