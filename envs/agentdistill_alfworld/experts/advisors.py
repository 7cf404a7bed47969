"""The text-only expert and the planner as advisors of an episode, in either dialect.

Both speak the "move" dialect. Where the episode is played in another one, a game of the fast engine plays along in
the "move" dialect, so that the expert reads the text it knows; only commands that the episode's own engine accepted
are played there.
"""

from __future__ import annotations

from agentdistill_alfworld.dialect import to_move, to_put
from agentdistill_alfworld.experts import Dialect
from agentdistill_alfworld.experts.planner import Planner
from agentdistill_alfworld.experts.text import TextExpert
from agentdistill_alfworld.fast import FastGame
from agentdistill_alfworld.games import Playable

NOTHING = "Nothing happens."
"""What every engine answers to a command that is not admissible."""


class TextAdvisor:
    """The text-only expert.

    Args:
        game: the game that is played; its facts are read only to translate another dialect.
        dialect: dialect of the episode.
    """

    def __init__(self, game: Playable, dialect: Dialect) -> None:
        self._expert = TextExpert()
        self._beside = None if dialect == "move" else FastGame(game.facts())

    def start(self, observation: str) -> None:
        """See `Advisor.start`."""
        self._expert.reset(observation if self._beside is None else self._beside.reset())

    def record(self, action: str, observation: str, valid: bool) -> None:
        """See `Advisor.record`."""
        if self._beside is not None:
            action = to_move(action)
            observation = self._beside.step(action) if valid else NOTHING
        self._expert.record(action, observation)

    def action(self) -> str | None:
        """See `Advisor.action`."""
        advice = self._expert.action()
        return advice if self._beside is None else to_put(advice)

    def close(self) -> None:
        """See `Advisor.close`."""


class PlannerAdvisor:
    """The full-information planner: it plans anew from the true state at every question.

    Args:
        game: the game that is played.
        dialect: dialect of the episode.
    """

    def __init__(self, game: Playable, dialect: Dialect) -> None:
        facts = game.facts()
        self._planner, self._beside, self._dialect = Planner(facts), FastGame(facts), dialect

    def start(self, observation: str) -> None:
        """See `Advisor.start`."""
        self._beside.reset()

    def record(self, action: str, observation: str, valid: bool) -> None:
        """See `Advisor.record`."""
        if valid:
            self._beside.step(to_move(action) if self._dialect == "put" else action)

    def action(self) -> str | None:
        """See `Advisor.action`."""
        advice = self._planner.action(self._beside)
        return to_put(advice) if advice is not None and self._dialect == "put" else advice

    def close(self) -> None:
        """See `Advisor.close`."""
