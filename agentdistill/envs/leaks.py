"""What an environment left behind: processes, temporary files, open files and threads after everything was closed.

Processes are found as descendants of this one and, should they have left the family, by a mark in their process
environment. Temporary files are looked for in a private folder that `tempfile` and child processes are pointed to, so
that nobody else's files are taken for this environment's. Where there is no `/proc`, processes and open files cannot
be compared and the report says so.
"""

from __future__ import annotations

import gc
import os
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_MARK = "AGENTDISTILL_LEAK_CHECK"
_HELPERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
"""Processes of Python itself that live as long as the interpreter."""

PATIENCE = 5.0
"""Seconds that what is being closed may take to go away."""

_SHOWN = 90


@dataclass(frozen=True, slots=True)
class Belongings:
    """What this process has at one moment.

    Attributes:
        processes: id -> command line of its descendants and of all processes that carry its mark.
        files: paths in the private temporary folder, relative to it.
        descriptors: what each open file descriptor of this process refers to, sorted.
        threads: names of its threads, sorted.
    """

    processes: dict[int, str]
    files: frozenset[str]
    descriptors: tuple[str, ...]
    threads: tuple[str, ...]


class LeakWatch:
    """Takes and compares snapshots inside `watch`.

    Args:
        folder: the private temporary folder.
        mark: value of the mark in the environment of child processes.
    """

    def __init__(self, folder: Path, mark: str) -> None:
        self._folder = folder
        self._mark = mark

    @property
    def sees_processes(self) -> bool:
        """Whether this system tells about processes."""
        return (_PROC / "self" / "stat").exists()

    def snapshot(self) -> Belongings:
        """What there is now, garbage collected first."""
        gc.collect()
        files = frozenset(str(path.relative_to(self._folder)) for path in self._folder.rglob("*"))
        threads = tuple(sorted(thread.name for thread in threading.enumerate()))
        return Belongings(self._processes(), files, _descriptors(), threads)

    def left_since(self, before: Belongings, *, processes_only: bool = False) -> list[str]:
        """What is there now and was not before, given some time (`PATIENCE`) to go away.

        Args:
            before: an earlier snapshot.
            processes_only: look at nothing else.

        Returns:
            One sentence part for each sort of thing that was left; empty when nothing was.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            left = _processes_left(before, now := self.snapshot())
            if not processes_only:
                left += _rest_left(before, now)
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.05)

    def _processes(self) -> dict[int, str]:
        if not self.sees_processes:
            return {}
        parents = {int(entry.name): _parent(entry) for entry in _PROC.iterdir() if entry.name.isdigit()}
        found: dict[int, str] = {}
        for process in sorted(parents):
            if process == os.getpid() or not (_descends(process, parents) or self._is_marked(process)):
                continue
            command = _read(_PROC / str(process) / "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()
            state = _read(_PROC / str(process) / "stat").rpartition(b")")[2].split()[:1]
            # A zombie that somebody will wait for is no running process; helpers live as long as the interpreter.
            if state and state != [b"Z"] and not any(helper in command for helper in _HELPERS):
                found[process] = command
        return found

    def _is_marked(self, process: int) -> bool:
        return f"{_MARK}={self._mark}".encode() in _read(_PROC / str(process) / "environ")


@contextmanager
def watch() -> Iterator[LeakWatch]:
    """Points temporary files and child processes to where they can be seen; everything is put back afterwards."""
    variables = {name: os.environ.get(name) for name in ("TMPDIR", _MARK)}
    folder_before, mark = tempfile.tempdir, uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="agentdistill-check-", ignore_cleanup_errors=True) as folder:
        os.environ["TMPDIR"], os.environ[_MARK] = folder, mark
        tempfile.tempdir = folder
        try:
            yield LeakWatch(Path(folder), mark)
        finally:
            tempfile.tempdir = folder_before
            for name, value in variables.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def _processes_left(before: Belongings, now: Belongings) -> list[str]:
    left = [f"{pid} ({command[:_SHOWN]})" for pid, command in now.processes.items() if pid not in before.processes]
    return [f"{len(left)} processes: {', '.join(left[:3])}"] if left else []


def _rest_left(before: Belongings, now: Belongings) -> list[str]:
    files = sorted(now.files - before.files)
    left = [f"{len(files)} temporary files: {', '.join(files[:3])}"] if files else []
    for what, earlier, later in (
        ("open files", before.descriptors, now.descriptors),
        ("threads", before.threads, now.threads),
    ):
        more = _added(earlier, later)
        if len(later) > len(earlier) and more:
            left.append(f"{len(later) - len(earlier)} {what}: {', '.join(more[:3])}")
    return left


def _added(earlier: tuple[str, ...], later: tuple[str, ...]) -> list[str]:
    """What is there more often than before."""
    more = Counter(later) - Counter(earlier)
    return sorted(more.elements())


def _descriptors() -> tuple[str, ...]:
    folder = _PROC / "self" / "fd"
    if not folder.exists():
        return ()
    found = []
    for link in list(folder.iterdir()):
        try:
            found.append(str(link.readlink()).partition(":[")[0])
        except OSError:  # the descriptor that lists the folder is closed by now
            continue
    return tuple(sorted(found))


def _parent(entry: Path) -> int:
    # "pid (name) state parent ...": the name may hold anything, also brackets.
    fields = _read(entry / "stat").rpartition(b")")[2].split()
    return int(fields[1]) if len(fields) > 1 else 0


def _descends(process: int, parents: dict[int, int]) -> bool:
    here = os.getpid()
    while process in parents and process != here:
        process = parents[process]
    return process == here


def _read(path: Path) -> bytes:
    """Content of a file of /proc, empty when the process is gone or not ours."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
