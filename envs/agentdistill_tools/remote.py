"""A helper process that calls functions for us, so that one that hangs or eats memory can be killed."""

from __future__ import annotations

import json
import os
import selectors
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentdistill.errors import EnvironmentFailure
from agentdistill_tools.tool import ToolError, WrongArguments

_STARTING = 120.0
"""Seconds in which a process has to start and import what a function needs, whatever the deadline of its calls."""


class Beginning(str):
    """The beginning of a result.

    Attributes:
        left_out: characters of the result that were not sent.
    """

    left_out: int

    def __new__(cls, text: str, left_out: int = 0) -> Beginning:
        """Makes it of a text and of how much follows."""
        made = super().__new__(cls, text)
        made.left_out = left_out
        return made


class Helper:
    """One helper process: started by the first call, started again after one that had to be killed.

    Its calls have deadlines, so what takes long only once (imports) is done before the clock starts.

    Args:
        memory_mb: limit of its address space; 0 is none.
    """

    def __init__(self, memory_mb: int = 0) -> None:
        self._memory = memory_mb
        self._process: subprocess.Popen[bytes] | None = None
        self._prepared: set[str] = set()

    def call(self, target: str, arguments: Mapping[str, Any], seconds: float, *, prepare: str) -> str:
        """Calls a function there.

        Args:
            target: "module:function".
            arguments: its arguments, plain JSON values.
            seconds: deadline; the process is killed when it passes.
            prepare: a function or class "module:name" that is imported first, outside the deadline.

        Returns:
            The result as text, cut after a million characters with a note.

        Raises:
            ToolError: the function raised, took too long, or took the process with it.
            EnvironmentFailure: the process cannot be started.
        """
        if self._process is not None and self._process.poll() is not None:
            self.close()  # it died between two calls, e.g. with the thread that started it
        if self._process is None:
            self._start()
        if prepare not in self._prepared:
            self._prepare(prepare)
        try:
            response = self._exchange(target, arguments, time.monotonic() + seconds)
        except EOFError:
            raise ToolError("the call ended the process it ran in") from None
        if response is None:
            raise ToolError(f"the call took longer than {seconds:g} s and was stopped")
        if "error" in response:
            raise (WrongArguments if response.get("arguments") else ToolError)(response["error"])
        return Beginning(response["result"], response["length"] - len(response["result"]))

    def close(self) -> None:
        """Ends the process. The next call starts another one."""
        process, self._process = self._process, None
        self._prepared.clear()
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:
                continue

    def _start(self) -> None:
        paths = [place or str(Path.cwd()) for place in sys.path]  # what was found through `-p` is found there, too
        self._process = subprocess.Popen(
            [sys.executable, "-m", "agentdistill_tools.worker", str(self._memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )

    def _prepare(self, target: str) -> None:
        try:
            response = self._exchange(
                "agentdistill_tools.worker:prepare", {"target": target}, time.monotonic() + _STARTING
            )
        except EOFError:
            response = None
        if response is None:
            raise EnvironmentFailure(
                f"The helper process for `{target}` did not start.",
                f"It ended, or did not answer within {_STARTING:g} s.",
                "Try to import it in a Python of your own.",
            )
        self._prepared.add(target)

    def _exchange(self, target: str, arguments: Mapping[str, Any], deadline: float) -> dict[str, Any] | None:
        """One request and its response; None when the deadline passes, and the process is killed.

        Raises:
            EOFError: the process ended.
        """
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        request = json.dumps({"target": target, "arguments": dict(arguments)}).encode()
        try:
            process.stdin.write(struct.pack(">Q", len(request)) + request)
            process.stdin.flush()
            header = self._read(process.stdout.fileno(), 8, deadline)
            body = header and self._read(process.stdout.fileno(), struct.unpack(">Q", header)[0], deadline)
        except BrokenPipeError:
            self.close()
            raise EOFError from None
        except BaseException:
            self.close()  # a half-read response must not be taken for the next one
            raise
        if body is None:
            self.close()
            return None
        response: dict[str, Any] = json.loads(body)
        return response

    @staticmethod
    def _read(handle: int, length: int, deadline: float) -> bytes | None:
        data = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(handle, selectors.EVENT_READ)
            while len(data) < length:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    return None
                part = os.read(handle, length - len(data))
                if not part:
                    raise EOFError
                data += part
        return bytes(data)
