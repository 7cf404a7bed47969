"""One call of the `python` tool: start, feed, watch, stop, and leave nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import IO

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
        ready, ready_inside = (stack.enter_context(end) for end in _pipe())
        info, info_inside = (stack.enter_context(end) for end in _pipe())
        home = "" if jail else stack.enter_context(tempfile.TemporaryDirectory(prefix="agentdistill-python-"))
        stdin = _sealed(code.encode("utf-8", "replace"))
        stack.callback(os.close, stdin)
        passed = [ready_inside.fileno()]
        command = [sys.executable]
        if jail:
            rules = _sealed(seccomp.program() or b"")
            stack.callback(os.close, rules)
            passed += [rules, info_inside.fileno()]
            command = jail.command(limits, rules, info_inside.fileno())
        process = subprocess.Popen(
            [*command, "-I", "-S", "-c", runner_source(), *arguments(limits, jail, ready_inside.fileno())],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=passed,
            cwd=home or "/",
            env=None if jail else environment(home),
            start_new_session=True,
        )
        try:
            ready_inside.close()
            info_inside.close()
            output, ending = _watch(process, limits)
        finally:
            _end(process, info if jail else None)
        started = ready.read(1) == b"R"
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
    """Reads until the program ends, whoever still holds its output, or is too slow, or says too much."""
    assert process.stdout is not None
    stdout = process.stdout.fileno()
    deadline = time.monotonic() + limits.seconds
    output = bytearray()
    with os.fdopen(os.pidfd_open(process.pid), "rb", buffering=0) as end, selectors.DefaultSelector() as selector:
        selector.register(stdout, selectors.EVENT_READ)
        selector.register(end, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            ready = [key.fd for key, _ in selector.select(left)] if left > 0 else []
            if not ready:
                return bytes(output), Ending.TIME
            if stdout not in ready:
                return bytes(output), None
            read = os.read(stdout, _CHUNK)
            if not read:
                selector.unregister(stdout)  # it may go on without
            output += read
            if len(output) > limits.output_bytes:
                return bytes(output[: limits.output_bytes]), Ending.OUTPUT


def _end(process: subprocess.Popen[bytes], info: IO[bytes] | None) -> None:
    """Kills what is left, and waits until the last process is gone.

    A pipe that nobody holds any more says little: programs close their output, and a dying process closes it long
    before it has given back its memory and files. The first process of a namespace goes last: that one is waited for.
    """
    first = None
    if info is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        first = _first_process(info)
    process.kill()  # the sandbox's first process dies with it, and all others with that one
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
    if first is not None:
        with os.fdopen(first, "rb", buffering=0), selectors.DefaultSelector() as selector:
            selector.register(first, selectors.EVENT_READ)
            if not selector.select(_LAST_WORDS):
                raise EnvironmentFailure(
                    "A process of the Python sandbox outlived it.", "It was killed and is still there."
                )
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PIDFD, first, os.WEXITED | os.WNOHANG)  # ours when we are a container's first process


def _first_process(info: IO[bytes]) -> int | None:
    """A handle of the sandbox's first process; None when it is gone, or never was there."""
    os.set_blocking(info.fileno(), False)
    try:
        number = json.loads(info.read() or b"null")
        return os.pidfd_open(number["child-pid"]) if number else None
    except (ProcessLookupError, ValueError):
        return None


def _pipe() -> tuple[IO[bytes], IO[bytes]]:
    reading, writing = os.pipe()
    return os.fdopen(reading, "rb", buffering=0), os.fdopen(writing, "wb", buffering=0)


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
