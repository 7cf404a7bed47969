"""What a run does while a remote teacher cannot answer: wait, leave rows out, or stop.

A teacher that waits asks again only for the rows it has no answer to, so that the run goes on with the very scores
it would have had.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

from pydantic import Field

from agentdistill.clients.errors import EndpointError
from agentdistill.errors import TeacherOutage
from agentdistill.plugins import PluginConfig

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0


class TeacherRefusal(EndpointError, TeacherOutage):
    """A teacher's server refuses a request or answers something else: the run ends where it can be resumed."""


class OutageConfig(PluginConfig):
    """What to do while the teacher cannot answer. A remote teacher derives its options from this.

    Attributes:
        on_outage: "wait" asks again until it answers, "skip" leaves the rows without a score out of the batch (at most
            `optim.max_dead_rows` of them), "stop" ends the run at once. A run that ends leaves a checkpoint.
        patience: seconds that "wait" waits for a sign of life before it ends the run.
    """

    on_outage: Literal["wait", "skip", "stop"] = "wait"
    patience: float = Field(default=900.0, ge=0.0, allow_inf_nan=False)


class OutagePolicy:
    """Carries requests through outages.

    Args:
        config: what to do.
        who: whom to name in messages, e.g. "the teacher at http://…".
        healthy: returns when the teacher can be asked again, raises `EndpointError` while it cannot, and another
            error when it came back as somebody else.
        clock: monotonic seconds.
        sleep: waits that many seconds.

    Attributes:
        outages: how often a request found nobody.
        skipped: requests left without an answer.
        waited: seconds spent waiting.
    """

    def __init__(
        self,
        config: OutageConfig,
        who: str,
        healthy: Callable[[], object],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._config, self._who, self._healthy = config, who, healthy
        self._clock, self._sleep = clock, sleep
        self.outages, self.skipped, self.waited = 0, 0, 0.0

    def collect(self, count: int, ask: Callable[[Sequence[int]], Sequence[_T | EndpointError]]) -> list[_T | None]:
        """Answers `count` requests.

        Args:
            count: number of requests.
            ask: asks for the requests of these numbers; a request that met an outage has its error as its answer.

        Returns:
            The answers in order; None for those that "skip" left out.

        Raises:
            TeacherOutage: the policy ends the run: "stop" at once, "wait" after `patience` seconds without a single
                answer, "skip" when not one request was answered.
        """
        found: list[_T | None] = [None] * count
        missing = list(range(count))
        since: float | None = None
        pause = _FIRST_PAUSE
        while True:
            answers = ask(missing)
            failed: list[tuple[int, EndpointError]] = []
            for number, answer in zip(missing, answers, strict=True):
                if isinstance(answer, EndpointError):
                    failed.append((number, answer))
                else:
                    found[number] = answer
            if not failed:
                if since is not None:
                    logger.warning("%s answers again after %.0f s.", self._who, self._clock() - since)
                return found
            error = failed[0][1]
            if len(failed) < len(missing):
                since, pause = None, _FIRST_PAUSE
            missing = [number for number, _ in failed]
            if since is None:
                self.outages += 1
                since = self._clock()
                logger.warning("%s does not answer %d requests. %s %s", self._who, len(missing), error.what, error.why)
            if self._config.on_outage == "skip" and len(missing) < count:
                self.skipped += len(missing)
                return found
            if self._config.on_outage != "wait":
                raise self._outage(error, "")
            pause = self._wait(since, pause, error)

    def _wait(self, since: float, pause: float, error: EndpointError) -> float:
        """Waits for a sign of life; the next pause."""
        began = self._clock()
        try:
            while True:
                left = since + self._config.patience - self._clock()
                if left <= 0:
                    raise self._outage(error, f" for {self._config.patience:g} s")
                self._sleep(min(pause, left))
                pause = min(2 * pause, _LONGEST_PAUSE)
                try:
                    self._healthy()
                except EndpointError as again:
                    if not again.transient:
                        raise
                    error = again
                    continue
                return pause
        finally:
            self.waited += self._clock() - began

    def _outage(self, error: EndpointError, how_long: str) -> TeacherOutage:
        return TeacherOutage(
            f"{self._who[0].upper()}{self._who[1:]} has not answered{how_long}.",
            f"{error.what} {error.why}".strip(),
            "Bring it back; `teacher.on_outage` and `teacher.patience` say what a run does meanwhile.",
        )
