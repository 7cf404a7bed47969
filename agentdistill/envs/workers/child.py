"""The worker process: makes environments, does what it is asked, one thing after another, and shows that it lives.

Its standard output and error go to a file beside it, so that nothing an environment prints gets into the messages.
"""

from __future__ import annotations

import os
import pickle
import resource
import signal
import socket
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentdistill.envs.replay import restore
from agentdistill.envs.workers.calls import Call, Reply, ResetCall, StepCall, perform
from agentdistill.envs.workers.wire import Failure, packed, receive
from agentdistill.errors import AgentDistillError, EnvironmentFailure

if TYPE_CHECKING:
    from agentdistill.envs.base import EnvironmentSource, TextEnv

BEAT = "beat"
"""File whose modification time is the last sign of life."""
LOG = "output.log"
"""File with what the environments printed, cut when it grows."""
BEAT_SECONDS = 0.5
MEMORY_EXIT = 86
"""Exit code of a process that went over its memory limit."""
_LOG_BYTES = 1 << 20
_TRACE = 1500


def main(descriptor: int, directory: str, memory_mb: int) -> None:
    """Serves the supervisor until it closes its end.

    Args:
        descriptor: the socket.
        directory: this worker's own folder.
        memory_mb: resident memory at which to give up, 0 for no limit.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's to handle
    _first_to_go()
    sock = socket.socket(fileno=descriptor)
    here = Path(directory)
    (here / BEAT).touch()
    threading.Thread(target=_live, args=(here, memory_mb << 20), daemon=True).start()
    host: _Host | None = None
    try:
        while True:
            number, slot, work = receive(sock)
            if host is None:
                host, answer = _set_up(work)
            else:
                answer = host.answer(slot, work)
            sock.sendall(_reply(number, answer))
    except (EOFError, OSError):
        pass
    if host is not None:
        host.close()
    # Taking the interpreter apart is slow; files and processes that are left, the supervisor removes.
    os._exit(0)


def _reply(number: int, answer: Any) -> bytes:
    try:
        return packed((number, answer))
    except Exception as error:  # whatever pickling meets in an info
        what = f"What the environment returned cannot be sent: {type(error).__name__}: {error}."
        return packed((number, Failure("EnvironmentFailure", what, "", "Return plain data in `info`.", ours=True)))


def _set_up(source: bytes) -> tuple[_Host | None, Any]:
    try:
        return _Host(pickle.loads(source)), None
    except BaseException as error:
        return None, _failure(error)


def _failure(error: BaseException) -> Failure:
    trace = "".join(traceback.format_exception(error))[-_TRACE:]
    if isinstance(error, AgentDistillError):
        return Failure(type(error).__name__, error.what, error.why, error.do, ours=True, trace=trace)
    return Failure(type(error).__name__, str(error), trace=trace)


class _Host:
    """The environments of this process, by slot."""

    def __init__(self, source: EnvironmentSource) -> None:
        self._source = source
        self._envs: dict[int, TextEnv] = {}

    def answer(self, slot: int, work: Any) -> Reply | Failure | None:
        """Does one piece of work: a call, an episode's (record, options) to replay, or None to close the slot."""
        try:
            if work is None:
                self._drop(slot)
                return None
            if isinstance(work, ResetCall | StepCall):
                return _checked(perform(self._env(slot), work), work)
            recorded, options = work
            restore(self._env(slot), recorded, options=options)
            return None
        # An environment may call sys.exit(); that is its failure, not the end of its neighbours.
        except BaseException as error:
            return _failure(error)

    def _env(self, slot: int) -> TextEnv:
        if slot not in self._envs:
            self._envs[slot] = self._source.make()
        return self._envs[slot]

    def _drop(self, slot: int) -> None:
        env = self._envs.pop(slot, None)
        if env is not None:
            env.close()

    def close(self) -> None:
        """Closes every environment."""
        for slot in list(self._envs):
            with suppress(Exception):  # the process ends anyway
                self._drop(slot)


def _checked(reply: Any, call: Call) -> Reply:
    """The reply, if it is one that the contract allows."""
    names = ("observation", "info") if isinstance(call, ResetCall) else (
        "observation", "reward", "terminated", "truncated", "info",
    )  # fmt: skip
    method = "reset" if isinstance(call, ResetCall) else "step"
    if not isinstance(reply, tuple) or len(reply) != len(names):
        shape = f"a tuple of {len(reply)}" if isinstance(reply, tuple) else type(reply).__name__
        raise _broken(method, f"It returned {shape} instead of ({', '.join(names)}).")
    if not isinstance(reply[0], str):
        raise _broken(method, f"The observation is of type {type(reply[0]).__name__}, not text.")
    if not isinstance(reply[-1], Mapping):
        raise _broken(method, f"info is of type {type(reply[-1]).__name__}, not a dict.")
    if len(reply) > len(names[:2]):
        try:
            float(reply[1])
        except (TypeError, ValueError):
            raise _broken(method, f"The reward is {reply[1]!r}, not a number.") from None
    return (*reply[:-1], dict(reply[-1]))


def _broken(method: str, why: str) -> EnvironmentFailure:
    return EnvironmentFailure(
        f"The environment's {method}() breaks the Gymnasium API.",
        why,
        "`agentdistill envs check` names every rule it breaks.",
    )


def _live(here: Path, most_bytes: int) -> None:
    """Touches a file again and again, keeps the log short, and ends the process when it takes too much memory."""
    page = os.sysconf("SC_PAGE_SIZE")
    statm = Path("/proc/self/statm")
    while True:
        with suppress(OSError):
            os.utime(here / BEAT)
            if (here / LOG).stat().st_size > _LOG_BYTES:
                os.truncate(here / LOG, 0)
        if most_bytes:
            if statm.exists():
                used = int(statm.read_text().split()[1]) * page
            else:
                used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            if used > most_bytes:
                os.write(2, f"{used >> 20} MiB resident memory, {most_bytes >> 20} allowed\n".encode())
                os._exit(MEMORY_EXIT)
        time.sleep(BEAT_SECONDS)


def _first_to_go() -> None:
    """When the machine runs out of memory a worker shall go, which can be replaced, before the run."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
