"""The scores of one teacher on disk: packs that only get more, shared by any number of processes."""

from __future__ import annotations

import fcntl
import os
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from agentdistill.atomic import write_bytes
from agentdistill.errors import DataError
from agentdistill.hashing import digest
from agentdistill.records import ScoreRequest, TeacherScores
from agentdistill.scorecache.arrays import Packed, pack_scores, unpack_scores
from agentdistill.scorecache.keys import narrowed, serves
from agentdistill.scorecache.pack import SUFFIX, Entry, Kept, encode_pack, read_entries, read_rows

Scores = list[TeacherScores]

LOCK_SECONDS = 60.0
"""Longest wait for another process that writes into the same folder; it holds the lock for one write only."""


def teacher_folder(folder: Path, fingerprint: str) -> Path:
    """Where the scores of a teacher lie below a cache folder."""
    return folder / digest(["teacher", fingerprint])[:16]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Writes and removes packs of a folder alone among all processes.

    Raises:
        TimeoutError: another process held the lock for `LOCK_SECONDS`.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"another process has locked {folder} for {LOCK_SECONDS:.0f} s") from None
                time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


class ScoreStore:
    """Finds and adds scores.

    A key has one answer to one request for as long as it is kept: whoever comes second with another takes the first,
    so that a rerun sees what the run saw.

    Args:
        folder: the teacher's folder; it need not exist.

    Attributes:
        corrupt: damaged packs and episodes met so far; each counts as if it were not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.corrupt = 0
        self._entries: dict[str, list[Entry]] = {}
        self._known: set[str] = set()
        self._seen_at = -1
        self._used: set[Path] = set()
        self._refresh()

    def __len__(self) -> int:
        """Episodes that are kept, as far as this process knows."""
        return sum(bool(entries) for entries in self._entries.values())

    def find(self, keys: Sequence[str], request: ScoreRequest) -> dict[str, Scores]:
        """The kept scores of those keys that have some."""
        if any(self._best(key, request) is None for key in keys):
            self._refresh()
        found = {}
        for key in dict.fromkeys(keys):
            scores = self._get(key, request)
            if scores is not None:
                found[key] = scores
        return found

    def take_corrupt(self) -> int:
        """`corrupt`, which begins anew."""
        taken, self.corrupt = self.corrupt, 0
        return taken

    def add(self, scores: Mapping[str, Scores], request: ScoreRequest) -> dict[str, Scores]:
        """Keeps what a teacher said in one call.

        Returns:
            What is kept now: these scores, or those that another process kept a moment earlier.

        Raises:
            DataError: hidden states of an unknown type.
            OSError: the disk is full, or the folder cannot be written; nothing was kept.
        """
        packed = {key: [pack_scores(row) for row in rows] for key, rows in scores.items()}
        with locked(self.folder):
            self._refresh(force=True)
            earlier = {key: kept for key in scores if (kept := self._get(key, request)) is not None}
            new = [_kept(key, request, rows, packed[key]) for key, rows in scores.items() if key not in earlier]
            if new:
                self._write(new)
        return {**scores, **earlier}

    def add_arrays(self, key: str, arrays: Mapping[str, Packed]) -> None:
        """Keeps arrays that are no scores; as `add`."""
        with locked(self.folder):
            self._refresh(force=True)
            if not self._entries.get(key):
                self._write([Kept(key, ScoreRequest(sampled=False), 0, [arrays])])

    def find_arrays(self, key: str) -> Mapping[str, Packed] | None:
        """Arrays that `add_arrays` kept, or None."""
        self._refresh()
        for entry in tuple(self._entries.get(key, ())):
            rows = self._rows(entry)
            if rows is not None:
                return rows[0]
        return None

    def _write(self, new: Sequence[Kept]) -> None:
        data = encode_pack(new)
        path = self.folder / f"{digest(data)}{SUFFIX}"
        write_bytes(path, data)  # replaces a damaged file of that name, if there is one
        self._index(path)

    def _best(self, key: str, request: ScoreRequest) -> Entry | None:
        able = [entry for entry in self._entries.get(key, ()) if serves(entry.request, request)]
        return next((entry for entry in able if entry.request == request), able[0] if able else None)

    def _get(self, key: str, request: ScoreRequest) -> Scores | None:
        while (entry := self._best(key, request)) is not None:
            rows = self._rows(entry)
            if rows is not None:
                return [narrowed(unpack_scores(row), entry.request, request) for row in rows]
        return None

    def _rows(self, entry: Entry) -> list[dict[str, Packed]] | None:
        """What an entry holds; None, and it is forgotten, when it is damaged or gone."""
        try:
            rows = read_rows(entry)
        except FileNotFoundError:  # pruned meanwhile
            self._entries[entry.key].remove(entry)
            return None
        except (DataError, OSError, zlib.error):
            self.corrupt += 1
            self._entries[entry.key].remove(entry)
            return None
        self._touch(entry.pack)
        return rows

    def _touch(self, path: Path) -> None:
        """Says once that a pack is in use: pruning begins with the packs that nobody needed for longest."""
        if path in self._used:
            return
        self._used.add(path)
        try:
            os.utime(path)
        except OSError:  # a read-only cache is one to read
            return

    def _refresh(self, force: bool = False) -> None:
        """Looks for packs that other processes wrote."""
        try:
            changed = self.folder.stat().st_mtime_ns
            if changed == self._seen_at and not force:
                return
            names = sorted(p.name for p in self.folder.iterdir() if p.suffix == SUFFIX and not p.name.startswith("."))
        except OSError:
            return
        self._seen_at = changed
        for name in names:
            if name not in self._known:
                self._index(self.folder / name)

    def _index(self, path: Path) -> None:
        again = path.name in self._known
        self._known.add(path.name)
        try:
            entries = read_entries(path)
        except FileNotFoundError:
            return
        except (DataError, OSError, ValueError, KeyError, TypeError):
            self.corrupt += 1
            return
        for entry in entries:
            known = self._entries.setdefault(entry.key, [])
            if again:
                known[:] = [other for other in known if other.pack != path]
            known.append(entry)


def _kept(
    key: str, request: ScoreRequest, rows: Sequence[TeacherScores], packed: Sequence[Mapping[str, Packed]]
) -> Kept:
    return Kept(key, request, sum(len(row.sampled_logprob) for row in rows), packed)
