"""A real MCP server, started by the tests: over standard input and output, or over HTTP when it is given a port."""

from __future__ import annotations

import sys
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
    if len(sys.argv) > 1:
        server.run("streamable-http", port=int(sys.argv[1]))
    else:
        server.run()
