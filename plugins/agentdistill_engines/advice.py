"""Who is asked when a student does not know: what all advisers have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agentdistill.conversation.base import Situation
from agentdistill.engines.base import Finish, GenerationRequest, Sampling
from agentdistill.errors import PluginError
from agentdistill.evaluate.spending import Spent


@dataclass(frozen=True, slots=True)
class Advice:
    """An answer.

    Attributes:
        text: what was written; "" when the prompt did not fit.
        finish: as in `agentdistill.engines.base.Generation`.
        spent: what it cost.
    """

    text: str
    finish: Finish
    spent: Spent


class Adviser(Protocol):
    """Answers in words."""

    def answer(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> list[Advice]:
        """One answer for each request, in their order; they are asked together."""
        ...

    def release(self, sessions: Iterable[str]) -> None:
        """Forgets conversations."""
        ...

    def provenance(self) -> Mapping[str, Any]:
        """Who it is."""
        ...


def situation_of(request: GenerationRequest) -> Situation:
    """What a prompt was made from.

    Raises:
        PluginError: whoever asks does not say.
    """
    if request.situation is None:
        raise PluginError(
            "A teacher that reads words was asked to answer a prompt of token ids.",
            "The request does not say what the prompt was made from.",
            "Whoever asks fills `GenerationRequest.situation`, as the rollout does.",
        )
    return request.situation
