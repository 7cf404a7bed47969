"""A client of OpenAI-compatible completions: token ids in, many requests at a time, and failures told apart.

A request that no retry could save is an outage: it comes back as the error that ended it, beside the answers to the
others, so that whoever asked can wait and ask again for what is missing. Everything else, a request the server
refuses or an answer that belongs to another request, is raised.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from agentdistill.clients.breaker import CircuitBreaker
from agentdistill.clients.errors import EndpointError, given_up, server_words
from agentdistill.clients.retry import wait_before
from agentdistill.clients.running import run_all, run_async
from agentdistill.clients.sending import Advise, Sender
from agentdistill.clients.server_settings import ServerConfig
from agentdistill.hashing import digest

logger = logging.getLogger(__name__)

_GET_SECONDS = 30.0

_T = TypeVar("_T")
Read = Callable[[Mapping[str, Any], int], _T]
"""Takes the decoded answer to a request apart, given the request's number; raises `BadReply`."""


class BadReply(EndpointError):
    """An answer with status 200 that is not the answer to its request: cut off, of another shape, of another prompt."""

    def __init__(self, what: str, why: str = "", do: str = "", *, transient: bool = True) -> None:
        super().__init__(what, why, do, transient=transient)


@dataclass(slots=True)
class Counts:
    """What a client did since it was made.

    Attributes:
        sent: completions sent, retries included.
        retries: requests sent again.
        failures: attempts that failed for a passing reason.
        prompt_tokens: tokens read by the server, by its own account.
    """

    sent: int = 0
    retries: int = 0
    failures: int = 0
    prompt_tokens: int = 0


class CompletionsClient:
    """Asks one server. Safe to keep for a whole run; nothing is connected between two calls.

    Args:
        config: the server.
        advise: knows better than the general advice what to do about a refusal.

    Raises:
        ConfigError: the variable that should hold the key is not set.
        MissingExtraError: the extra `api` is not installed.

    Attributes:
        config: the server.
        counts: what was asked so far.
        breaker: opens when the server fails several times in a row.
    """

    def __init__(self, config: ServerConfig, advise: Advise | None = None) -> None:
        self._sender = Sender(config, "a client of a server", advise)
        self.config, self.counts = config, Counts()
        self.breaker = CircuitBreaker(config.trip, config.rest)
        self._failure = ""

    def __repr__(self) -> str:
        return f"CompletionsClient({self.config.url})"

    def complete(self, bodies: Sequence[Mapping[str, Any]], read: Read[_T]) -> list[_T | EndpointError]:
        """Sends completions, at most `config.concurrency` at a time.

        Args:
            bodies: the bodies of the requests, `model` included.
            read: takes each answer apart as it comes.

        Returns:
            For each request what `read` made of its answer, or the passing failure that its retries ended with.

        Raises:
            EndpointError: the server refuses a request, or keeps answering something else (`BadReply`). The other
                requests are stopped.
        """
        return run_async(self._complete_all(bodies, read))

    def get(self, address: str) -> Any:
        """One GET of a whole address, without retries: the decoded JSON, or the text where it is none.

        Raises:
            EndpointError: no answer with status 200 within half a minute.
        """
        return run_async(self._call("GET", address, None, min(_GET_SECONDS, self.config.timeout)))

    def post(self, address: str, body: Mapping[str, Any]) -> Any:
        """One POST to a whole address, like `get`, within `config.timeout`."""
        return run_async(self._call("POST", address, body, self.config.timeout))

    def alive(self) -> None:
        """Asks for the server's health and closes the circuit breaker when it is well.

        Raises:
            EndpointError: it is not.
        """
        try:
            self.get(f"{self.config.root}/health")
        except EndpointError as error:
            if error.status != 404:  # a server without such a page is asked for its models
                raise
            self.get(f"{self.config.url}/models")
        self.breaker.success()

    async def _complete_all(self, bodies: Sequence[Mapping[str, Any]], read: Read[_T]) -> list[_T | EndpointError]:
        if not bodies:
            return []
        if self.breaker.open and not await self._recovered():
            return [self._left_alone() for _ in bodies]
        slots = asyncio.Semaphore(self.config.concurrency)
        async with self._sender.connect() as http:
            return await run_all(self._ask(http, slots, body, i, read) for i, body in enumerate(bodies))

    async def _recovered(self) -> bool:
        if not self.breaker.rested:
            return False
        try:
            await asyncio.to_thread(self.alive)
        except EndpointError:
            self.breaker.failure()
            return False
        return True

    async def _ask(
        self, http: Any, slots: asyncio.Semaphore, body: Mapping[str, Any], number: int, read: Read[_T]
    ) -> _T | EndpointError:
        config = self.config
        async with slots:
            for attempt in range(1, config.retries + 2):
                if self.breaker.open:
                    return self._left_alone()
                try:
                    self.counts.sent += 1
                    value = await self._send(http, "POST", f"{config.url}/completions", body, config.timeout)
                    answer = read(value, number)
                except EndpointError as error:
                    if not error.transient:
                        raise
                    self.counts.failures += 1
                    if not isinstance(error, BadReply):
                        self.breaker.failure()
                        self._failure = f"{error.what} {error.why}"
                    if attempt > config.retries:
                        last = given_up(error, attempt)
                        if isinstance(error, BadReply):  # one that keeps coming is raised; no answer is an outage
                            raise BadReply(last.what, last.why, last.do, transient=False) from error
                        return last
                    asked = error.retry_after
                    asked = asked if asked is None else min(asked, config.max_wait)
                    pause = wait_before(attempt, digest([number, config.url]), config.max_wait, asked)
                    logger.info("%s Trying again in %.1f s.", error, pause)
                    await asyncio.sleep(pause)
                    self.counts.retries += 1
                    continue
                self.breaker.success()
                self.counts.prompt_tokens += _prompt_tokens(value)
                return answer
        raise AssertionError("the last attempt returns or raises")

    async def _call(self, method: str, address: str, body: Mapping[str, Any] | None, timeout: float) -> Any:
        async with self._sender.connect() as http:
            return await self._send(http, method, address, body, timeout)

    async def _send(self, http: Any, method: str, address: str, body: Mapping[str, Any] | None, timeout: float) -> Any:
        """One attempt."""
        late = (f"At most {self.config.concurrency} requests were under way.", "Raise timeout, or lower concurrency.")
        reply = await self._sender.send(http, method, address, body, timeout, named=address, late=late)
        return _decoded(reply, address, self._sender.clean)

    def _left_alone(self) -> EndpointError:
        config = self.config
        return EndpointError(
            f"{config.url} is left alone for {config.rest:g} s.",
            f"It failed {config.trip} times in a row: {self._failure}",
            "Check that the server runs.",
            transient=True,
        )


def _decoded(body: bytes, address: str, clean: Callable[[str], str]) -> Any:
    if not body:
        return ""
    try:
        return json.loads(body)
    except ValueError as error:
        words = clean(server_words(body[:2000].decode("utf-8", "replace")))
        raise BadReply(f"The answer of {address} is not JSON, or cut off.", f"It begins: {words!r}.") from error


def _prompt_tokens(value: Any) -> int:
    usage = value.get("usage") if isinstance(value, Mapping) else None
    count = usage.get("prompt_tokens") if isinstance(usage, Mapping) else None
    return count if isinstance(count, int) else 0
