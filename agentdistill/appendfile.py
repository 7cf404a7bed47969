"""A text file of lines that only grows, has one writer, and survives SIGKILL at any byte.

A line is written with one system call and counts only with its newline: what follows the last newline is the torn
rest of a write that was killed, and opening the file for writing cuts it off. Readers just do not see it.
"""

from __future__ import annotations

import fcntl
import functools
import logging
import os
import weakref
from collections.abc import Iterator
from pathlib import Path

from agentdistill.errors import DataError

logger = logging.getLogger(__name__)


def read_lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Reads the complete lines of a file; a torn last line is left out.

    Args:
        path: the file; a missing one has no lines.

    Yields:
        (line number from 1, byte offset of the line, the line without its newline).
    """
    if not path.exists():
        return
    offset = 0
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.endswith(b"\n"):
                return
            yield number, offset, line[:-1]
            offset += len(line)


class AppendFile:
    """The one writer of such a file.

    Args:
        path: the file; it and its folder are made when missing.

    Raises:
        DataError: another process is writing this file.

    Attributes:
        cut_bytes: length of the torn line that opening the file cut off; 0 is the normal case.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise DataError(
                f"{path} is being written by another process.",
                "Two writers in one file would mix their lines.",
                "Stop the other run or give this one another directory.",
            ) from error
        # A forked worker that outlives a killed run must not keep its lock.
        os.register_at_fork(after_in_child=functools.partial(_abandon, weakref.ref(self)))
        size = os.fstat(self._descriptor).st_size
        keep = self._end_of_last_line(size)
        self.cut_bytes = size - keep
        if self.cut_bytes:
            logger.warning("cut %d bytes of a half-written last line from %s", self.cut_bytes, path)
            self.truncate(keep)

    def _end_of_last_line(self, size: int) -> int:
        block = 1 << 16
        for end in range(size, 0, -block):
            start = max(0, end - block)
            found = os.pread(self._descriptor, end - start, start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
        return 0

    def append(self, line: bytes) -> None:
        """Appends one line.

        Args:
            line: its bytes, without a newline anywhere.
        """
        if b"\n" in line:
            raise ValueError("a line must not contain a newline")
        start = os.fstat(self._descriptor).st_size
        data = memoryview(line + b"\n")
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            # A full disk leaves half a line: take it back, so that the next append does not continue it.
            os.ftruncate(self._descriptor, start)
            raise

    def flush(self) -> None:
        """Forces everything appended so far to the disk (a killed process loses nothing even without it)."""
        os.fsync(self._descriptor)

    def truncate(self, offset: int) -> None:
        """Cuts the file at a byte offset and forces that to the disk."""
        os.ftruncate(self._descriptor, offset)
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Flushes and closes the file; closing twice is harmless."""
        if self._descriptor >= 0:
            os.fsync(self._descriptor)
            # A worker forked a moment ago may not have let go of its copy yet: the lock itself is given up here.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            self.abandon()

    def abandon(self) -> None:
        """Closes the file without flushing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _abandon(reference: weakref.ref[AppendFile]) -> None:
    file = reference()
    if file is not None:
        file.abandon()
