"""One ScienceWorld simulator, spoken to over the bridge with as few words as possible.

Upstream's Python wrapper computes the list of all valid commands at every step; that takes twenty times as long as
the step. Here a step is the answer, the score and the clock, in one call; everything else is asked for separately.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from agentdistill_scienceworld.jvm import Jvm, acquire, release

UNKNOWN = ("No known action matches that input.", "Unknown action.")
"""How answers to commands begin that the simulator does not understand."""

AMBIGUOUS = "Ambiguous request"
"""How the answer to a command begins that could mean several things; a number chooses among them."""

_TASK_PREFIXES = ("Task Description:", "Your task is to ")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a command.

    Attributes:
        text: the simulator's answer.
        score: points so far, from -100 to 100.
        completed: the simulator says that the task is over.
        moves: commands so far that took time.
    """

    text: str
    score: int
    completed: bool
    moves: int

    @property
    def valid(self) -> bool:
        """The command was understood. A request to say which of several things was meant counts as that."""
        return not self.text.startswith(UNKNOWN)


class Simulator:
    """A simulator in the JVM of this process.

    Args:
        heap_mb: heap of the JVM, if it must be started.

    Raises:
        MissingExtraError: Java or the extra is not installed.
        EnvironmentFailure: Java does not start.
    """

    def __init__(self, heap_mb: int) -> None:
        found = acquire(heap_mb)
        self.jvm: Jvm = found[0]
        self._java: Any = found[1]
        self._world = found[2]
        self._outcome: Any = self._java.outcome  # see `mended`

    def close(self) -> None:
        """Gives the simulator back. Closing twice is allowed."""
        if self._java is not None:
            java, self._java = self._java, None
            self._outcome = None
            release(self.jvm, java, self._world)

    def load(self, task: str, variation: int, simplification: str) -> None:
        """Makes the world of a variation.

        Args:
            task: name of the task.
            variation: its number.
            simplification: simplifications, separated by commas.
        """
        with self._turn() as call:
            self.jvm.forget()
            call(self._java.load, task, variation, simplification, False)
            call(self._java.reset)

    def gold(self, task: str, variation: int, simplification: str) -> list[str]:
        """Loads a variation together with a sequence of commands that completes it, from its beginning.

        The search for it takes up to some seconds, and far more memory than playing.
        """
        with self._turn() as call:
            call(self._java.load, task, variation, simplification, True)
            return [str(action) for action in call(lambda: list(self._java.getGoldActionSequence()))]

    def step(self, command: str) -> Outcome:
        """Sends a command. A text that is no Unicode is sent with question marks."""
        sent = command.encode("utf-8", "replace").decode()
        with self._turn() as call:
            score, completed, moves, text = call(self._outcome, sent).split("\n", 3)
        return Outcome(text, round(100 * float(score)), completed == "true", int(moves))

    def goal(self) -> str:
        """The task in words, without the words that introduce it."""
        with self._turn() as call:
            text = str(call(self._java.freeActionTaskDesc)).strip()
        for prefix in _TASK_PREFIXES:
            text = text.removeprefix(prefix).strip()
        return text

    def room(self) -> str:
        """What the agent sees around it."""
        with self._turn() as call:
            return str(call(self._java.freeActionLook)).strip()

    def inventory(self) -> str:
        """What the agent carries."""
        with self._turn() as call:
            return str(call(self._java.freeActionInventory)).strip()

    def forms(self) -> list[str]:
        """The forms of commands, with OBJ for a thing."""
        return self._sorted(self._java.getPossibleActions)

    def things(self) -> list[str]:
        """The things that can be named now."""
        return self._sorted(self._java.getPossibleObjects)

    def commands(self) -> list[str]:
        """Every command that is valid now. Slow: tens of milliseconds."""
        return self._sorted(self._java.getValidActionObjectCombinations)

    def _sorted(self, method: Any) -> list[str]:
        """What a method lists, sorted, each once. Java joins it: over the bridge every element would be a call."""
        with self._turn() as call:
            text = call(self.jvm.join, "\n", call(method))
        return sorted(set(text.split("\n")) - {""})

    @contextmanager
    def _turn(self) -> Iterator[Callable[..., Any]]:
        """Has the JVM to itself, with this world's static parts in place; gives the function to call Java with."""
        jvm = self.jvm
        with jvm.lock:
            jvm.call(jvm.statics.enter, self._world)
            yield jvm.call
