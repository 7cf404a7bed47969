"""What both engines of the text world are to their callers."""

from __future__ import annotations

from typing import Protocol


class TextGame(Protocol):
    """One game in play. Commands and observations are text, byte-identical whichever engine plays."""

    @property
    def won(self) -> bool:
        """The engine's verdict on the goal, now."""
        ...

    @property
    def done(self) -> bool:
        """The engine would accept no more commands. ALFWorld's games end only when won."""
        ...

    @property
    def valid(self) -> bool:
        """The last command was admissible (True after `reset`)."""
        ...

    def reset(self) -> str:
        """Starts over.

        Returns:
            The first observation: banner, room, task.
        """
        ...

    def step(self, command: str) -> str:
        """Sends one command. A command that is not admissible changes nothing.

        Returns:
            The engine's answer.
        """
        ...

    def admissible(self) -> list[str]:
        """Commands that the engine accepts now, sorted, without duplicates."""
        ...
