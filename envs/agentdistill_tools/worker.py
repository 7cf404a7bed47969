"""The program of a helper process: calls functions by name until its input ends.

Run as `python -m agentdistill_tools.worker MEMORY_MB` (0 for no limit) by `agentdistill_tools.remote.Helper`. A request
is eight bytes of length and a JSON object {"target": "module:function", "arguments": {...}}; so is a response, with
"result" and "length" (of the whole text), or "error". What a function prints goes to stderr.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import struct
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

from agentdistill_tools.tool import ToolError, WrongArguments, as_text

SENT = 1_000_000
"""Most characters of a result that are sent back; the environment shows far fewer."""

_PR_SET_PDEATHSIG = 1
_SIGKILL = 9


@cache
def load(target: str) -> Callable[..., Any]:
    """Imports "module:function"."""
    module, _, name = target.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def prepare(target: str) -> None:
    """Imports "module:name"; a failure is left to the call that needs it."""
    with contextlib.suppress(Exception):
        load(target)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Calls what was asked for; whatever it raises is its answer."""
    try:
        text = as_text(load(request["target"])(**request["arguments"]))
    except ToolError as error:
        return {"error": str(error), "arguments": isinstance(error, WrongArguments)}
    except BaseException as error:
        return {"error": f"{type(error).__name__}: {str(error)[:1000]}".rstrip(": ")}
    return {"result": text[:SENT], "length": len(text)}


def main() -> None:
    """Answers requests in order."""
    _die_with_parent()
    if memory := int(sys.argv[1]):
        resource.setrlimit(resource.RLIMIT_AS, (memory << 20, memory << 20))
    requests, responses = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    while len(header := requests.read(8)) == 8:
        request = json.loads(requests.read(struct.unpack(">Q", header)[0]))
        response = json.dumps(answer(request)).encode()
        responses.write(struct.pack(">Q", len(response)) + response)
        responses.flush()


def _die_with_parent() -> None:
    """A process that hangs in a tool would not see that its input has ended."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL)


if __name__ == "__main__":
    main()
