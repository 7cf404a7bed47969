"""Turns that somebody other than the student plays in the student's episode, drawn turn by turn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from agentdistill.engines.base import Engine, Generation, GenerationRequest, Sampling
from agentdistill.hashing import digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentdistill.conversation.base import ContextPolicy
    from agentdistill.conversation.template import ChatRenderer


@dataclass(frozen=True, slots=True)
class GuideTurn:
    """A turn that a guide is asked to play.

    Attributes:
        request: the prompt the student would have been given, with a seed of its own.
        info: the environment's info before this turn.
    """

    request: GenerationRequest
    info: Mapping[str, Any]


class Guide(Protocol):
    """Plays turns in the student's place."""

    def respond(self, turns: Sequence[GuideTurn], sampling: Sampling) -> list[Generation | None]:
        """One response for each turn, in their order; None leaves the turn to the student."""
        ...

    def release(self, sessions: Iterable[str]) -> None:
        """Forgets conversations."""
        ...


class ModelGuide:
    """A model that reads the student's prompts as they are and samples as the student does.

    Args:
        engine: samples from that model, whose tokenizer is the student's.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def respond(self, turns: Sequence[GuideTurn], sampling: Sampling) -> list[Generation | None]:
        """Samples all turns in one batch."""
        return list(self._engine.generate([turn.request for turn in turns], sampling))

    def release(self, sessions: Iterable[str]) -> None:
        """Drops the cached conversations."""
        self._engine.release(sessions)


class ExpertGuide:
    """The environment's expert, written down as the student would write it; needs `RolloutSettings.want_expert`.

    Args:
        context: writes an action as a response.
        renderer: tokenises it.
    """

    def __init__(self, context: ContextPolicy, renderer: ChatRenderer) -> None:
        self._context, self._renderer = context, renderer

    def respond(self, turns: Sequence[GuideTurn], sampling: Sampling) -> list[Generation | None]:
        """The expert's advice; None where it has none."""
        advice = [turn.info.get("expert_action") for turn in turns]
        return [None if action is None else self._written(action) for action in advice]

    def release(self, sessions: Iterable[str]) -> None:
        """There is nothing to forget."""

    def _written(self, action: str) -> Generation:
        ids = self._renderer.response(self._context.render_action(action))
        return Generation(list(ids), [float("nan")] * len(ids), "stop")


def guided(seed: int, turn: int, probability: float) -> bool:
    """Whether the guide plays a turn: a draw of its own for every turn, from the episode's seed alone."""
    if not 0.0 < probability < 1.0:
        return probability >= 1.0
    return int(digest([seed, turn, "who plays"])[:13], 16) / 16**13 < probability


def guide_seed(seed: int, turn: int) -> int:
    """The guide's sampling seed of a turn, another one than the student's."""
    return int(digest([seed, turn, "guide"])[:16], 16)
