"""The chat client: many requests at a time, time-outs, retries, a cache, and an account of what was spent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from agentdistill.clients.answers import AnswerCache
from agentdistill.clients.errors import EndpointError, SpentError, given_up
from agentdistill.clients.messages import ChatAnswer, ChatRequest, read_answer
from agentdistill.clients.retry import wait_before
from agentdistill.clients.running import run_all, run_async
from agentdistill.clients.sending import Sender
from agentdistill.clients.settings import EndpointConfig
from agentdistill.clients.usage import Usage

logger = logging.getLogger(__name__)


class ChatClient:
    """Asks one endpoint. Safe to keep for a whole run; nothing is connected between two calls.

    The key is read when the client is made, sent to `config.url` only (redirects are not followed), and appears in no
    log, error, cache or `repr`.

    Args:
        config: the endpoint.

    Raises:
        ConfigError: the variable that should hold the key is not set.
        MissingExtraError: the extra `api` is not installed.

    Attributes:
        config: the endpoint.
        usage: what was asked and spent so far.
        cache: the answers on disk, or None.
    """

    def __init__(self, config: EndpointConfig) -> None:
        self._sender = Sender(config, "a client of an endpoint")
        self.config = config
        self.usage = Usage(config.price_in, config.price_out)
        folder = config.folder()
        self.cache = AnswerCache(folder) if folder is not None else None

    def __repr__(self) -> str:
        return f"ChatClient({self.config.model!r} at {self.config.url})"

    def complete(self, requests: Sequence[ChatRequest]) -> list[ChatAnswer]:
        """Answers requests, at most `config.concurrency` at a time.

        Requests of one call that are alike in everything are asked once. When one fails for good the others are
        stopped; what was answered by then is in the cache.

        Returns:
            The answers, in the order of the requests.

        Raises:
            EndpointError: a request could not be answered.
            SpentError: the budget is spent.
            DataError: a cached answer is damaged.
        """
        return run_async(self.acomplete(requests))

    async def acomplete(self, requests: Sequence[ChatRequest]) -> list[ChatAnswer]:
        """`complete`, inside a running event loop."""
        identities = [request.identity(self.config) for request in requests]
        distinct = dict(zip(identities, requests, strict=True))
        found: dict[str, ChatAnswer] = {}
        for identity in distinct if self.cache is not None else ():
            assert self.cache is not None
            answer = self.cache.get(identity)
            if answer is not None:
                found[identity] = answer
        missing = [identity for identity in distinct if identity not in found]
        self.usage.cached += sum(identity in found for identity in identities)
        self.usage.shared += sum(identity not in found for identity in identities) - len(missing)
        if missing:
            answers = await self._ask_all([(identity, distinct[identity]) for identity in missing])
            found.update(zip(missing, answers, strict=True))
        self.usage.answers += len(requests)
        return [found[identity] for identity in identities]

    async def _ask_all(self, requests: list[tuple[str, ChatRequest]]) -> list[ChatAnswer]:
        lane = _Lane(asyncio.Semaphore(self.config.concurrency))
        async with self._sender.connect() as http:
            return await run_all(self._ask(http, lane, *request) for request in requests)

    async def _ask(self, http: Any, lane: _Lane, identity: str, request: ChatRequest) -> ChatAnswer:
        async with lane.slots:
            for attempt in range(1, self.config.retries + 2):
                await lane.open()
                self._check_budget()
                try:
                    answer = await self._send(http, request)
                except EndpointError as error:
                    pause = self._pause(error, attempt, identity)
                    if error.retry_after is not None:
                        lane.close_for(pause)
                    logger.info("%s Trying again in %.1f s.", error, pause)
                    await asyncio.sleep(pause)
                    self.usage.retries += 1
                    continue
                self.usage.paid(answer)
                if self.cache is not None:
                    self.cache.put(identity, request.payload(self.config), answer)
                return answer
        raise AssertionError("the last attempt returns or raises")

    def _pause(self, error: EndpointError, attempt: int, identity: str) -> float:
        """Seconds until the next attempt, or the error itself where there shall be none."""
        if not error.transient:
            raise error
        if error.retry_after is not None and error.retry_after > self.config.max_wait:
            raise EndpointError(
                error.what,
                f"It asks to wait {error.retry_after:,.0f} s, and max_wait is {self.config.max_wait:g} s. {error.why}",
                "Run again later: answers up to here are in the cache." if self.cache else "Run again later.",
                status=error.status,
                transient=True,
                retry_after=error.retry_after,
            ) from error
        if attempt > self.config.retries:
            raise given_up(error, attempt) from error
        return wait_before(attempt, identity, self.config.max_wait, error.retry_after)

    async def _send(self, http: Any, request: ChatRequest) -> ChatAnswer:
        """One attempt."""
        config = self.config
        self.usage.sent += 1
        asked = f"The model `{config.model}` was asked for at most {request.max_tokens or config.max_tokens} tokens."
        body = await self._sender.send(
            http,
            "POST",
            f"{config.url}/chat/completions",
            request.payload(config),
            config.timeout,
            named=config.url,
            late=(asked, "Raise timeout, or lower concurrency or max_tokens."),
        )
        return read_answer(body, config.url, self._sender.clean)

    def _check_budget(self) -> None:
        budget = self.config.budget
        if budget is None:
            return
        if self.usage.unmeasured:
            raise EndpointError(
                f"The budget of {budget:g} USD cannot be kept.",
                f"{self.config.url} does not say how many tokens its answers take.",
                "Remove budget, or use an endpoint that reports usage.",
            )
        if self.usage.cost >= budget:
            raise SpentError(
                f"The budget of {budget:g} USD is spent.", f"{self.usage.summary()}.", "Raise budget to go on."
            )

    def close(self) -> None:
        """Nothing stays open between calls; here so that a client can be used like other resources."""

    def __enter__(self) -> ChatClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Lane:
    """What the requests of one call share: the slots, and the pause that the endpoint asked for."""

    def __init__(self, slots: asyncio.Semaphore) -> None:
        self.slots = slots
        self._closed_until = 0.0

    def close_for(self, seconds: float) -> None:
        self._closed_until = max(self._closed_until, asyncio.get_running_loop().time() + seconds)

    async def open(self) -> None:
        while (pause := self._closed_until - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(pause)
