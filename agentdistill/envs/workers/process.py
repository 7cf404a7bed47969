"""One worker process as its supervisor sees it: start, signs of life, last words, end."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentdistill.envs.workers.child import BEAT, LOG, MEMORY_EXIT
from agentdistill.envs.workers.wire import Channel, packed

if TYPE_CHECKING:
    from agentdistill.envs.workers.env import WorkerEnv
    from agentdistill.envs.workers.janitor import Janitor

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from agentdistill.envs.workers.child import main; main(int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))"
)
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_GRACE = 2.0
_WORDS = 600


@dataclass(slots=True)
class Ticket:
    """Work that a process has been given and has not answered.

    Attributes:
        number: repeated in the answer.
        env: whose work it is; None for the set-up and for closing slots.
        seconds: how long it may take.
        began: since when it is the process's first in line, `time.monotonic`.
    """

    number: int
    env: WorkerEnv | None
    seconds: float
    began: float = 0.0


class WorkerProcess:
    """A process that serves environments. It leads its own process group: what it starts ends with it.

    Args:
        janitor: gives it a folder and cleans up after us.
        number: names its folder.
        source: the pickled environment source.
        reset_seconds: longest set-up.
        memory_mb: memory limit or None.
    """

    def __init__(self, janitor: Janitor, number: int, source: bytes, reset_seconds: float, memory_mb: int | None):
        self._janitor = janitor
        self._directory = janitor.directory / f"worker-{number}"
        temporary = self._directory / "tmp"
        temporary.mkdir(parents=True)
        environment = {**dict.fromkeys(_ONE_THREAD, "1"), **os.environ, "TMPDIR": str(temporary)}
        ours, theirs = socket.socketpair()
        arguments = [json.dumps(sys.path), str(theirs.fileno()), str(self._directory), str(memory_mb or 0)]
        with (self._directory / LOG).open("ab") as log, theirs:
            self._popen = subprocess.Popen(
                [sys.executable, "-c", _START, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        janitor.watch(self._popen.pid)
        self.channel = Channel(ours)
        self.tickets: deque[Ticket] = deque()
        self.homes: weakref.WeakSet[WorkerEnv] = weakref.WeakSet()
        self.ready = False
        self._numbers = 0
        self.give(None, 0, source, reset_seconds)

    @property
    def pid(self) -> int:
        """Its process id, which is also its process group's."""
        return self._popen.pid

    def give(self, env: WorkerEnv | None, slot: int, work: Any, seconds: float) -> None:
        """Queues work; the answer comes through the channel."""
        data = packed((self._numbers, slot, work))
        self.tickets.append(Ticket(self._numbers, env, seconds, time.monotonic()))
        self._numbers += 1
        self.channel.send(data)

    def answered(self) -> Ticket:
        """Takes the first ticket off; the next one's time begins."""
        ticket = self.tickets.popleft()
        if self.tickets:
            self.tickets[0].began = time.monotonic()
        return ticket

    def overdue(self, heartbeat_seconds: float) -> str:
        """Why it must be killed, or "". To be asked after all its answers were read."""
        if self._popen.poll() is not None:
            return "ended"
        if not self.tickets:
            return ""
        if time.monotonic() - self.tickets[0].began > self.tickets[0].seconds:
            return f"did not answer within {self.tickets[0].seconds:g} s"
        if not self.ready:
            return ""  # imports hold the interpreter's lock for long
        try:
            last = (self._directory / BEAT).stat().st_mtime
        except OSError:
            return ""  # somebody cleaned up the folder: deadlines still hold
        if time.time() - last > heartbeat_seconds:
            return f"showed no sign of life for {heartbeat_seconds:g} s"
        return ""

    def kill(self) -> str:
        """Ends it and everything it started, removes its folder, and tells how it ended, with its last words."""
        code = self._popen.poll()
        with contextlib.suppress(OSError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._janitor.forget(self._popen.pid)
        self._popen.wait()
        words = self._last_words()
        self._remove()
        if code is None:
            code = self._popen.returncode
        if code == MEMORY_EXIT:
            how = "it went over its memory limit"
        elif code < 0:
            how = f"signal {-code}"
        else:
            how = f"exit code {code}"
        return f"{how}; its last words: {words!r}" if words else how

    def retire(self, until: float) -> None:
        """Ends it in peace: it closes its environments; after `until` (`time.monotonic`) it is killed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(max(0.0, until - time.monotonic()))
        self.kill()

    def hang_up(self) -> float:
        """Closes our end, upon which it closes its environments and ends. Returns until when it may do so."""
        self.channel.close()
        return time.monotonic() + (_GRACE if self.ready else 0.0)

    def _last_words(self) -> str:
        try:
            with (self._directory / LOG).open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - _WORDS))
                return log.read().decode("utf-8", "replace").strip()
        except OSError:
            return ""

    def _remove(self) -> None:
        self.channel.close()
        shutil.rmtree(self._directory, ignore_errors=True)
