"""Tools of servers that speak the Model Context Protocol, called from code that does not wait for anything else."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import threading
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from agentdistill.errors import ConfigError, EnvironmentFailure, import_extra
from agentdistill_tools.config import McpServerConfig
from agentdistill_tools.tool import Tool, ToolError

_STARTING = 60.0
_ENDING = 15.0
"""Seconds; the client itself waits a few for a server to end before it kills it."""

_PAGES = 100

Result = TypeVar("Result")


class McpServer:
    """A connection to one server, held by an event loop in a thread of its own.

    Args:
        label: what the user calls it.
        config: how to reach it.
        seconds: deadline of a call.

    Raises:
        ConfigError: it has neither a command nor an address, or both; or it does not offer a tool that was asked for.
        EnvironmentFailure: it cannot be started or reached.
        MissingExtraError: the package `mcp` is not installed.
    """

    def __init__(self, label: str, config: McpServerConfig, seconds: float) -> None:
        if (config.command is None) == (config.url is None):
            raise ConfigError(f"The MCP server `{label}` needs a `command` or a `url`, and not both.")
        self._label, self._config, self._seconds = label, config, seconds
        self._package = import_extra("mcp", "mcp", "An MCP server's tools")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"mcp-{label}", daemon=True)
        self._thread.start()
        self._ready: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self._leave: asyncio.Event | None = None
        self._holding = asyncio.run_coroutine_threadsafe(self._hold(), self._loop)
        try:
            self._client = self._ready.result(_STARTING)
            self._listed = self._wait(self._list(), _STARTING)
        except Exception as error:
            self.close()
            raise EnvironmentFailure(
                f"The MCP server `{label}` did not answer.",
                f"{_innermost(error)}.",
                f"Try its {'command in a terminal' if config.command else 'address in a browser'}.",
            ) from error

    def tools(self) -> list[Tool]:
        """The tools it offers, or those of them that were asked for, in its own order.

        Raises:
            ConfigError: it does not offer one that was asked for.
        """
        offered = {tool.name: tool for tool in self._listed}
        wanted = list(offered) if self._config.tools is None else list(self._config.tools)
        for name in wanted:
            if name not in offered:
                raise ConfigError(
                    f"The MCP server `{self._label}` has no tool `{name}`.", f"It has {', '.join(offered) or 'none'}."
                )
        return [self._tool(offered[name]) for name in wanted]

    def close(self) -> None:
        """Ends the connection, the server if it was started here, and the thread. Closing twice is allowed."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(lambda: self._leave.set() if self._leave else self._holding.cancel())
        concurrent.futures.wait([self._holding], _ENDING)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_ENDING)
        if not self._thread.is_alive():
            self._loop.close()

    def _tool(self, offered: Any) -> Tool:
        def call(arguments: Mapping[str, Any]) -> str:
            try:
                coroutine = self._client.call_tool(offered.name, dict(arguments), read_timeout_seconds=self._seconds)
                result = self._wait(coroutine, self._seconds + 1)
            except TimeoutError as error:
                raise ToolError(f"the call took longer than {self._seconds:g} s and was stopped") from error
            except Exception as error:  # whatever the connection says goes to the agent
                raise ToolError(_innermost(error)) from error
            text = _text(result)
            if result.is_error:
                raise ToolError(text)
            return text

        return Tool(offered.name, offered.description or "", offered.input_schema, call)

    async def _hold(self) -> None:
        """Connects, and stays connected until it is told to leave: a connection ends in the task that began it."""
        self._leave = asyncio.Event()
        try:
            with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
                async with self._package.Client(self._server(nowhere), read_timeout_seconds=_STARTING) as client:
                    self._ready.set_result(client)
                    await self._leave.wait()
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            raise

    def _server(self, log: Any) -> Any:
        if self._config.url is not None:
            return self._config.url
        assert self._config.command is not None
        parameters = self._package.StdioServerParameters(
            command=self._config.command, args=list(self._config.args), env=dict(self._config.env)
        )
        return self._package.stdio_client(parameters, errlog=log)

    async def _list(self) -> list[Any]:
        found: list[Any] = []
        cursor = None
        for _ in range(_PAGES):
            page = await self._client.list_tools(cursor=cursor)
            found += page.tools
            cursor = page.next_cursor
            if cursor is None:
                break
        return found

    def _wait(self, coroutine: Coroutine[Any, Any, Result], seconds: float) -> Result:
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result(seconds)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise


def _text(result: Any) -> str:
    """The text of a result; what is not text is named, not shown."""
    parts = [part.text if part.type == "text" else f"[{part.type}]" for part in result.content]
    if not parts and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    return "\n".join(parts)


def _innermost(error: BaseException) -> str:
    """What happened, behind the groups that task groups wrap it in."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}".rstrip(": ")
