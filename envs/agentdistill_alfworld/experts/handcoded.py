"""ALFWorld's own hand-coded expert, unchanged, with its dice in a box.

It reads the engine's facts and breaks ties with the global `random`; here it gets the facts in a fixed order (the
engine's order changes from process to process) and its own generator. It knows only the "move" dialect, so a real
game in that dialect plays along with the episode. Where the original raises or gets lost, it is started anew.
"""

from __future__ import annotations

import random
from typing import Any

from agentdistill_alfworld.dialect import to_move, to_put
from agentdistill_alfworld.experts import Dialect
from agentdistill_alfworld.games import Playable
from agentdistill_alfworld.real import RealGame
from agentdistill_alfworld.upstream import import_alfworld

FALLBACK = "look"
"""What ALFWorld's wrapper plays first, and whenever the expert's choice is not admissible."""


class HandcodedAdvisor:
    """The hand-coded expert.

    Args:
        game: the game that is played.
        dialect: dialect of the episode.
        seed: seed of its tie-breaks.

    Raises:
        MissingExtraError: the extra `alfworld` is not installed.
    """

    def __init__(self, game: Playable, dialect: Dialect, seed: int = 0) -> None:
        self._upstream = import_alfworld("alfworld.agents.expert")
        objects = set(import_alfworld("alfworld.gen.constants").OBJECTS)
        parameters = {"task_type": game.type, **game.parameters()}
        self._task = {name: value.lower() if value in objects else value for name, value in parameters.items()}
        self._dialect = dialect
        self._beside = RealGame(game.text("move"))
        self._dice = f"handcoded/{game.key}/{seed}"
        self._first = ""
        self._advice: str | None = None
        self._random_state: Any = None
        self._agent: Any = None

    def start(self, observation: str) -> None:
        """See `Advisor.start`."""
        self._random_state = random.Random(self._dice).getstate()
        self._first = self._beside.reset()
        self._restart()
        self._advice = FALLBACK

    def _restart(self) -> None:
        """A fresh expert that knows the room, and what the agent holds."""
        self._agent = self._upstream.HandCodedTWAgent(max_steps=200)
        self._agent.task_params = self._task
        self._agent.policy = self._agent.get_task_policy(self._task)(self._task, max_steps=200)
        self._agent.observe(self._first)
        held = [fact.names[1].strip() for fact in self._beside.facts() if fact.name == "holds"]
        if held:
            self._agent.policy.inventory = held
            self._agent.policy.got_inventory_from_recep = next(iter(self._agent.policy.receptacles), "").strip()

    def record(self, action: str, observation: str, valid: bool) -> None:
        """See `Advisor.record`."""
        action = to_move(action.strip())
        feedback = self._beside.step(action) if valid else "Nothing happens."
        admissible = self._beside.admissible()
        state = {"feedback": feedback, "facts": self._beside.facts(), "admissible_commands": admissible}
        # A refused command changed nothing; told of it, the expert would believe that it had gone or taken.
        choice = self._choose(state, action if valid else "")
        self._advice = None if self._beside.won else choice if choice in admissible else FALLBACK

    def _choose(self, state: dict[str, Any], action: str) -> str:
        """The original's choice. It draws from the global generator: lend it a private state and put the old back."""
        outside = random.getstate()
        random.setstate(self._random_state)
        try:
            return str(self._agent.act(state, 0, False, action))
        # Its two own ways to give up, and the errors of code that expects to have acted itself.
        except (
            self._upstream.HandCodedAgentTimeout,
            self._upstream.HandCodedAgentFailed,
            IndexError,
            KeyError,
            ValueError,
        ):
            self._restart()
            return FALLBACK
        finally:
            self._random_state = random.getstate()
            random.setstate(outside)

    def action(self) -> str | None:
        """See `Advisor.action`."""
        return to_put(self._advice) if self._advice is not None and self._dialect == "put" else self._advice

    def close(self) -> None:
        """See `Advisor.close`."""
        self._beside.close()
