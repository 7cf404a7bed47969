"""One HTTP request to an endpoint, with the key and with failures told apart: what all clients share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any

from agentdistill.clients.errors import TRANSIENT, EndpointError, advice, cleaner, server_words
from agentdistill.clients.retry import retry_after
from agentdistill.clients.server_settings import ServerConfig
from agentdistill.clients.settings import EndpointConfig
from agentdistill.errors import ConfigError, import_extra

Advise = Callable[[int, str], str | None]
"""What to do about a refusal, by its status and the server's words; None leaves it to the general advice."""


class Sender:
    """Sends requests to one endpoint.

    The key is read when the sender is made, sent to the addresses it is given only (redirects are not followed), and
    appears in no log, error or `repr`.

    Args:
        config: the endpoint.
        purpose: who sends, for the error about a missing extra.
        advise: knows better than the general advice what to do about a refusal.

    Raises:
        ConfigError: the variable that should hold the key is not set.
        MissingExtraError: the extra `api` is not installed.

    Attributes:
        clean: takes the key out of a text.
    """

    def __init__(self, config: EndpointConfig | ServerConfig, purpose: str, advise: Advise | None = None) -> None:
        self._http: Any = import_extra("httpx2", "api", purpose)
        self._config = config
        self._advise = advise or (lambda status, words: None)
        key = _key(config)
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self.clean = cleaner(key)

    def connect(self) -> Any:
        """Connections for `send`, an asynchronous context manager."""
        limits = self._http.Limits(max_connections=self._config.concurrency)
        # Reading the certificates takes 20 ms, and plain http has none to check.
        verify = self._config.url.startswith("https:")
        return self._http.AsyncClient(limits=limits, timeout=None, follow_redirects=False, verify=verify)

    async def send(
        self,
        http: Any,
        method: str,
        address: str,
        body: Mapping[str, Any] | None,
        timeout: float,
        *,
        named: str,
        late: tuple[str, str],
    ) -> bytes:
        """One attempt.

        Args:
            http: open connections (`connect`).
            method: of HTTP.
            address: the whole address.
            body: sent as JSON; None sends none.
            timeout: seconds until the last byte.
            named: what errors call the address.
            late: why an answer may take too long, and what to do about it.

        Returns:
            The body of an answer with status 200.

        Raises:
            EndpointError: there is none.
        """
        try:
            async with asyncio.timeout(timeout):
                response = await http.request(method, address, json=body, headers=self._headers)
        except TimeoutError as error:
            raise EndpointError(f"{named} did not answer within {timeout:g} s.", *late, transient=True) from error
        except self._http.HTTPError as error:
            raise EndpointError(
                f"{named} cannot be reached.",
                f"{type(error).__name__}: {self.clean(str(error)).rstrip('.') or 'the connection broke'}.",
                "Check that the server runs and that the address is right.",
                transient=True,
            ) from error
        if response.status_code != 200:
            raise self._refusal(named, response, (body or {}).get("model"))
        content: bytes = response.content
        return content

    def _refusal(self, named: str, response: Any, model: str | None) -> EndpointError:
        config, status, said = self._config, response.status_code, server_words(self.clean(response.text))
        return EndpointError(
            f"{named} answered {status}" + (f" to a request for the model `{model}`." if model else "."),
            f"It says: {said}" if said else "It gives no reason.",
            self._advise(status, said) or advice(status, config.key_variable),
            status=status,
            transient=status in TRANSIENT,
            retry_after=retry_after(response.headers),
        )


def _key(config: EndpointConfig | ServerConfig) -> str | None:
    """The key, read from the environment now; None without one."""
    if config.key_variable is None:
        return None
    key = os.environ.get(config.key_variable, "").strip()
    if not key:
        raise ConfigError(
            f"The environment variable {config.key_variable} is not set.",
            f"It should hold the key for {config.url}.",
            "Set it, or remove key_variable if the endpoint needs no key.",
        )
    return key
