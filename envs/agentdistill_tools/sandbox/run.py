"""One call of the `python` tool: start, feed, watch, stop, and leave nothing behind."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

from agentdistill.errors import EnvironmentFailure
from agentdistill_tools.sandbox import seccomp
from agentdistill_tools.sandbox.jail import Jail, environment, package_folders
from agentdistill_tools.sandbox.limits import PythonConfig

_CHUNK = 1 << 16
_LAST_WORDS = 5.0
"""Seconds that a killed sandbox has to be gone; it takes milliseconds."""


class Ending(StrEnum):
    """How a call ended."""

    DONE = "done"
    FAILED = "failed"
    """An exception, or an exit status that is not 0."""
    TIME = "time"
    CPU = "cpu"
    OUTPUT = "output"
    KILLED = "killed"
    """By a signal, e.g. its own."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call.

    Attributes:
        ending: how it ended.
        output: stdout and stderr in the order they were written, at most `output_bytes` bytes of it.
        status: exit status, 128 + signal for one that was killed.
    """

    ending: Ending
    output: str
    status: int


@cache
def runner_source() -> str:
    """The text of the program inside."""
    return Path(__file__).with_name("runner.py").read_text(encoding="utf-8")


def arguments(limits: PythonConfig, jail: Jail | None, ready: int) -> list[str]:
    """What the program inside is told: numbers, 0 for none, then the folders of packages."""
    numbers = (
        ready,
        (jail.uid() if jail else None) or 0,
        limits.cpu_seconds,
        limits.memory_mb << 20,
        limits.files_mb << 20,
        limits.open_files,
        limits.processes + jail.reserved_processes if jail else 0,
    )
    return [*map(str, numbers), *package_folders(limits, inside=jail is not None)]


def run_python(code: str, limits: PythonConfig, jail: Jail | None) -> Outcome:
    """Runs code in a fresh interpreter.

    Args:
        code: the code; what cannot be written as UTF-8 becomes question marks.
        limits: what it may use.
        jail: how the sandbox is built; None runs it without one (`limits.unsafe`).

    Returns:
        The outcome. Every process that the call started is gone by then.

    Raises:
        EnvironmentFailure: the sandbox itself failed.
    """
    with contextlib.ExitStack() as stack:
        ready, ready_inside = os.pipe()
        stack.callback(os.close, ready)
        inside = stack.enter_context(os.fdopen(ready_inside, "wb", buffering=0))
        home = "" if jail else stack.enter_context(tempfile.TemporaryDirectory(prefix="agentdistill-python-"))
        stdin = _sealed(code.encode("utf-8", "replace"))
        stack.callback(os.close, stdin)
        passed = [ready_inside]
        command = [sys.executable]
        if jail:
            rules = _sealed(seccomp.program() or b"")
            stack.callback(os.close, rules)
            passed.append(rules)
            command = jail.command(limits, rules)
        process = subprocess.Popen(
            [*command, "-I", "-S", "-c", runner_source(), *arguments(limits, jail, ready_inside)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=passed,
            cwd=home or "/",
            env=None if jail else environment(home),
            start_new_session=True,
        )
        inside.close()
        try:
            output, ending = _watch(process, limits)
        finally:
            _end(process, jail)
        started = os.read(ready, 1) == b"R"
    if not started and ending is None:
        raise EnvironmentFailure(
            "The Python sandbox did not start.",
            f"It said: {output.decode('utf-8', 'replace').strip()[:500] or f'exit status {process.returncode}'}.",
            "Run: agentdistill envs check tools.",
        )
    status = process.returncode if process.returncode >= 0 else 128 - process.returncode
    if ending is None:
        ending = Ending.DONE if status == 0 else Ending.FAILED
        if status > 128:
            ending = Ending.CPU if status == 128 + 24 else Ending.KILLED
    return Outcome(ending, output.decode("utf-8", "replace"), status)


def _watch(process: subprocess.Popen[bytes], limits: PythonConfig) -> tuple[bytes, Ending | None]:
    """Reads until the program ends, is too slow or says too much."""
    assert process.stdout is not None
    deadline = time.monotonic() + limits.seconds
    output = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not selector.select(left):
                return bytes(output), Ending.TIME
            read = os.read(process.stdout.fileno(), _CHUNK)
            if not read:
                break
            output += read
            if len(output) > limits.output_bytes:
                return bytes(output[: limits.output_bytes]), Ending.OUTPUT
    try:  # it may have closed its output and go on
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return bytes(output), Ending.TIME
    return bytes(output), None


def _end(process: subprocess.Popen[bytes], jail: Jail | None) -> None:
    """Kills what is left and waits until the last process that could write to the pipe is gone."""
    assert process.stdout is not None
    if jail is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
    process.kill()  # the sandbox's first process dies with it, and all others with that one
    process.wait()
    deadline = time.monotonic() + _LAST_WORDS
    with process.stdout as stdout, selectors.DefaultSelector() as selector:
        selector.register(stdout, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())):
            if not os.read(stdout.fileno(), _CHUNK):
                return
    if jail is not None:
        raise EnvironmentFailure("A process of the Python sandbox outlived it.", "It was killed and still runs.")


def _sealed(content: bytes) -> int:
    """A file in memory that nobody can change, read from its beginning: no pipe to fill, no file to remove."""
    import fcntl

    handle = os.memfd_create("agentdistill", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(handle, "wb", closefd=False) as stream:
        stream.write(content)
    os.lseek(handle, 0, os.SEEK_SET)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    fcntl.fcntl(handle, fcntl.F_ADD_SEALS, seals)
    return handle
