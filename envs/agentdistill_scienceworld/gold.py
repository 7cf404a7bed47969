"""The expert: the simulator's own solution of a variation, followed from its beginning."""

from __future__ import annotations

import importlib.metadata
import json
import warnings
from pathlib import Path

from agentdistill.atomic import write_text
from agentdistill.cache import CACHE_VARIABLE, cache_directory
from agentdistill_scienceworld.simulator import AMBIGUOUS, Outcome, Simulator

_ORDER = 1
"""Counts up when things stand in another order than before: a path may choose among them by number."""


class GoldPath:
    """Advice along a gold path.

    The path is a list of commands from the beginning, not a plan from the present state. Commands that took no time
    (a look around, one that was not understood) leave the agent on it; any other command that is not the next one
    leaves the path for good, and from then on there is no advice.

    Args:
        actions: the path.
    """

    def __init__(self, actions: list[str]) -> None:
        self._actions = actions
        self._next = 0
        self._left = False
        self._moves = 0

    def record(self, command: str, outcome: Outcome) -> None:
        """Takes note of a command and what came of it."""
        took_time = outcome.moves != self._moves
        self._moves = outcome.moves
        if self._left:
            return
        if self._next < len(self._actions) and command.strip().lower() == self._actions[self._next].lower():
            self._next += 1
        elif took_time or outcome.text.startswith(AMBIGUOUS):
            self._left = True

    def action(self) -> str | None:
        """The next command, or None off the path and at its end."""
        return None if self._left or self._next >= len(self._actions) else self._actions[self._next]


def gold_actions(simulator: Simulator, task: str, variation: int, simplification: str) -> list[str]:
    """The gold path of a variation, from the cache or from the simulator.

    Args:
        simulator: is used, and left with another world, when the path is not in the cache.
        task: name of the task.
        variation: its number.
        simplification: simplifications, separated by commas.
    """
    path = _path(task, variation, simplification)
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(known, list) and known and all(isinstance(action, str) for action in known):
            return known
    except (OSError, ValueError):
        pass
    found = simulator.gold(task, variation, simplification)
    try:
        write_text(path, json.dumps(found))
    except OSError as error:
        warnings.warn(
            f"The cache folder {path.parent} cannot be written ({error.strerror or error}); gold paths are searched "
            f"anew every time. Set {CACHE_VARIABLE} to a folder that can be.",
            stacklevel=2,
        )
    return found


def _path(task: str, variation: int, simplification: str) -> Path:
    version = importlib.metadata.version("scienceworld")
    folder = cache_directory() / "scienceworld" / f"gold-{version}-{_ORDER}"
    return folder / (simplification or "none") / task / f"{variation}.json"
