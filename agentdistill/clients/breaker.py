"""A circuit breaker: a server that failed several times in a row is left alone for a while."""

from __future__ import annotations

import time
from collections.abc import Callable


class CircuitBreaker:
    """Counts failures in a row; any success resets the count.

    While it is open nobody sends requests that would each wait for their own time-out. After `rest` seconds the server
    may be asked once whether it is there again.

    Args:
        failures: failures in a row that open it.
        rest: seconds it stays open at least.
        clock: monotonic seconds.

    Attributes:
        opened: how often it opened.
    """

    def __init__(self, failures: int, rest: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._rest, self._clock = failures, rest, clock
        self._failed = 0
        self._until: float | None = None
        self.opened = 0

    @property
    def open(self) -> bool:
        """The server failed too often and nobody has found it well since."""
        return self._until is not None

    @property
    def rested(self) -> bool:
        """It is closed, or has been open long enough to ask whether the server is there again."""
        return self._until is None or self._clock() >= self._until

    def success(self) -> None:
        """The server answered."""
        self._failed, self._until = 0, None

    def failure(self) -> None:
        """The server did not answer."""
        self._failed += 1
        if self._failed >= self._limit or self._until is not None:
            self.opened += self._until is None
            self._until = self._clock() + self._rest
