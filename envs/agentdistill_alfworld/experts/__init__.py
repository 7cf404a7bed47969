"""Experts: who can say what to do next, from any state, also after somebody else's mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from agentdistill_alfworld.games import Playable

Dialect = Literal["move", "put"]


class Advisor(Protocol):
    """An expert who watches an episode and can be asked at any time. Deterministic."""

    def start(self, observation: str) -> None:
        """A new episode began."""
        ...

    def record(self, action: str, observation: str, valid: bool) -> None:
        """Somebody acted.

        Args:
            action: the command, whoever chose it.
            observation: the engine's answer.
            valid: the engine accepted the command.
        """
        ...

    def action(self) -> str | None:
        """What the expert would do now, or None when it has no advice."""
        ...

    def close(self) -> None:
        """Frees what the expert holds."""
        ...


def make_advisor(name: str, game: Playable, dialect: Dialect, seed: int = 0) -> Advisor:
    """Makes an expert for one game.

    Args:
        name: "text", "handcoded" or "planner".
        game: the game that is played.
        dialect: dialect that the episode is played in; advice is given in it.
        seed: seed of the tie-breaks of the hand-coded expert.

    Returns:
        The expert; call `start` first.

    Raises:
        MissingExtraError: the hand-coded expert needs the extra `alfworld`.
    """
    from agentdistill_alfworld.experts import advisors

    if name == "handcoded":
        from agentdistill_alfworld.experts.handcoded import HandcodedAdvisor

        return HandcodedAdvisor(game, dialect, seed)
    if name == "planner":
        return advisors.PlannerAdvisor(game, dialect)
    return advisors.TextAdvisor(game, dialect)
