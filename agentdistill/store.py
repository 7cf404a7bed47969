"""The append-only, crash-safe store of trajectories: JSON lines, one file per writer, a checksum in every line.

A line is `{"v":1,"sum":"<16 hex digits>","t":{...}}`, where the sum is over the bytes of `{...}` as they stand in
the file. It is ordinary JSON Lines for any other reader.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from agentdistill.appendfile import AppendFile, read_lines
from agentdistill.codec import trajectory_from_dict, trajectory_to_dict
from agentdistill.errors import DataError
from agentdistill.hashing import digest
from agentdistill.records import Trajectory

__all__ = ["TrajectoryStore", "trajectory_from_dict", "trajectory_to_dict"]

_LINE = re.compile(rb'\{"v":1,"sum":"([0-9a-f]{16})","t":(.*)\}', re.DOTALL)
_WRITER = re.compile(r"[A-Za-z0-9_]+")


def _encode_line(trajectory: Trajectory) -> bytes:
    body = json.dumps(trajectory_to_dict(trajectory), separators=(",", ":"), allow_nan=False).encode("ascii")
    return b'{"v":1,"sum":"' + digest(body)[:16].encode() + b'","t":' + body + b"}"


def _decode_line(path: Path, number: int, line: bytes) -> Trajectory:
    match = _LINE.fullmatch(line)
    if match is None or digest(match[2])[:16].encode() != match[1]:
        raise DataError(
            f"{path.name}, line {number}, is corrupt: it does not match its checksum (file {path}).",
            "Complete lines are never rewritten, so the disk or another program changed it.",
            "Restore the file from a copy, or remove that line to go on without this episode.",
        )
    try:
        return trajectory_from_dict(json.loads(match[2]))
    except (DataError, KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{path.name}, line {number}, cannot be read (file {path}).",
            f"Its checksum is right but its content is not: {error}.",
            "Read it with the version of agentdistill that wrote it.",
        ) from error


class TrajectoryStore:
    """Trajectories in a directory.

    Reading needs no lock and sees every complete line of every writer. Each writer has a file of its own, which is
    opened, locked and freed of a torn last line at its first use.

    Args:
        path: the directory; made at the first `append`.
        writer: name of this process's file, letters, digits and underscores. Readers can keep the default.
    """

    def __init__(self, path: Path, writer: str = "main") -> None:
        if not _WRITER.fullmatch(writer):
            raise ValueError(f"a writer's name is letters, digits and underscores, got {writer!r}")
        self.path = path
        self.file = path / f"episodes-{writer}.jsonl"
        self._writing: AppendFile | None = None
        self._count: int | None = None

    def _writer(self) -> AppendFile:
        if self._writing is None:
            self._writing = AppendFile(self.file)
        return self._writing

    def files(self) -> list[Path]:
        """The files of all writers, sorted by name."""
        return sorted(self.path.glob("episodes-*.jsonl"))

    def append(self, trajectory: Trajectory) -> None:
        """Adds one episode. When this returns, killing the process no longer loses it.

        Raises:
            DataError: another process writes under the same name, or the episode holds data that is no plain data.
        """
        self._writer().append(_encode_line(trajectory))
        if self._count is not None:
            self._count += 1

    def read(self) -> Iterator[Trajectory]:
        """All episodes, writer by writer (sorted by name), each in the order written.

        Raises:
            DataError: a line is corrupt; the message names file and line. A torn last line is no error.
        """
        for path in self.files():
            for number, _, line in read_lines(path):
                yield _decode_line(path, number, line)

    def count(self) -> int:
        """Number of episodes in this writer's file."""
        if self._count is not None:
            return self._count
        count = sum(1 for _ in read_lines(self.file))
        if self._writing is not None:
            # From here on nobody else changes the file.
            self._count = count
        return count

    def truncate_to(self, count: int) -> int:
        """Keeps this writer's first `count` episodes and drops the rest.

        A checkpoint notes `count()`; resuming from it calls this, so that the store again holds just what the
        checkpoint had seen.

        Returns:
            How many were dropped.

        Raises:
            DataError: the file holds fewer than `count` episodes.
        """
        writing = self._writer()
        offsets = [offset for _, offset, _ in read_lines(self.file)]
        if len(offsets) < count:
            raise DataError(
                f"{self.file} holds {len(offsets)} episodes, the checkpoint has seen {count}.",
                "The store is older than the checkpoint, or another run's.",
                "Resume in the run directory that the checkpoint belongs to.",
            )
        if len(offsets) > count:
            writing.truncate(offsets[count])
        self._count = count
        return len(offsets) - count

    def flush(self) -> None:
        """Forces what was appended to the disk, so that it survives a power cut; called at each checkpoint."""
        if self._writing is not None:
            self._writing.flush()

    def close(self) -> None:
        """Flushes and releases this writer's file."""
        if self._writing is not None:
            self._writing.close()
            self._writing = self._count = None

    def __enter__(self) -> TrajectoryStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
