"""A real MCP server over standard input and output, started by the tests."""

from __future__ import annotations

import time

from mcp.server.mcpserver import MCPServer

server = MCPServer("toy")


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
def fails() -> str:
    """Fails."""
    raise ValueError("not today")


@server.tool()
def sleeps() -> str:
    """Takes too long."""
    time.sleep(600)
    return "awake"


@server.tool()
def floods() -> str:
    """Says too much."""
    return "y" * 10_000_000


if __name__ == "__main__":
    server.run()
