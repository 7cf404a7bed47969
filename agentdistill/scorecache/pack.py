"""A pack: the scores of one call to a teacher, in one file that never changes and is named by its content.

    "ADSCORE1"  8 bytes
    length of the header, 8 bytes, little-endian
    header      JSON: per episode its key, the request, and of each row every array's type, place and checksum
    sum         SHA-256 of the header, 32 bytes
    arrays      one after the other

A pack appears by a rename, so that either all scores of a call are kept or none: a run that is killed and resumed
meets the same packs as one that was left alone. Every array is checked when it is read.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agentdistill.errors import DataError
from agentdistill.hashing import digest
from agentdistill.records import ScoreRequest
from agentdistill.scorecache.arrays import Packed

MAGIC = b"ADSCORE1"
SUFFIX = ".scores"
_SUM = 32
_HEAD = len(MAGIC) + 8


@dataclass(frozen=True, slots=True)
class Place:
    """Where an array lies in a pack, and what it is (`agentdistill.scorecache.arrays.Packed`)."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    deflated: bool
    at: int
    size: int
    sum: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One episode in a pack.

    Attributes:
        pack: the file.
        key: of the episode (`agentdistill.scorecache.keys.score_key`).
        request: what the teacher was asked.
        tokens: length of its rows together.
        rows: the arrays of each row.
    """

    pack: Path
    key: str
    request: ScoreRequest
    tokens: int
    rows: tuple[tuple[Place, ...], ...]

    @property
    def size(self) -> int:
        """Bytes of its arrays."""
        return sum(place.size for row in self.rows for place in row)


@dataclass(frozen=True, slots=True)
class Kept:
    """One episode on its way into a pack."""

    key: str
    request: ScoreRequest
    tokens: int
    rows: Sequence[Mapping[str, Packed]]


def encode_pack(episodes: Sequence[Kept]) -> bytes:
    """The bytes of a pack; they depend on nothing but the episodes, and neither does its name, their SHA-256."""
    blobs: list[bytes] = []
    at = 0
    entries = []
    for episode in episodes:
        rows = []
        for row in episode.rows:
            places = []
            for name, packed in row.items():
                size = len(packed.data)
                shape = list(packed.shape)
                places.append([name, packed.dtype, shape, packed.deflated, at, size, digest(packed.data)[:32]])
                blobs.append(packed.data)
                at += size
            rows.append(places)
        entries.append({"key": episode.key, "request": asdict(episode.request), "tokens": episode.tokens, "rows": rows})
    header = json.dumps({"version": 1, "episodes": entries}, separators=(",", ":"), sort_keys=True).encode()
    return b"".join([MAGIC, struct.pack("<Q", len(header)), header, bytes.fromhex(digest(header)), *blobs])


def read_entries(path: Path) -> list[Entry]:
    """What is in a pack, from its header alone.

    Raises:
        DataError: the header is damaged, or of an unknown version.
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
        if len(head) != _HEAD or not head.startswith(MAGIC):
            raise damaged(path, "It does not begin as a pack of scores does.")
        (length,) = struct.unpack("<Q", head[len(MAGIC) :])
        if length > path.stat().st_size:
            raise damaged(path, "It is shorter than it says.")
        header, found = stream.read(length), stream.read(_SUM)
    if len(header) != length or bytes.fromhex(digest(header)) != found:
        raise damaged(path, "Its header does not match its checksum.")
    data = json.loads(header)
    if data["version"] != 1:
        raise DataError(f"{path.name} has the format version {data['version']!r}.", "This package reads version 1.")
    start = _HEAD + length + _SUM
    return [_entry(path, episode, start) for episode in data["episodes"]]


def _entry(path: Path, episode: Mapping[str, Any], start: int) -> Entry:
    rows = tuple(
        tuple(Place(name, dtype, tuple(shape), z, start + at, size, s) for name, dtype, shape, z, at, size, s in row)
        for row in episode["rows"]
    )
    return Entry(path, episode["key"], ScoreRequest(**episode["request"]), episode["tokens"], rows)


def read_rows(entry: Entry) -> list[dict[str, Packed]]:
    """The arrays of an episode.

    Raises:
        DataError: an array does not match its checksum.
        OSError: the file cannot be read, or was pruned.
    """
    with entry.pack.open("rb") as stream:
        return [{place.name: _read(stream, entry, place) for place in row} for row in entry.rows]


def _read(stream: Any, entry: Entry, place: Place) -> Packed:
    stream.seek(place.at)
    data = stream.read(place.size)
    if digest(data)[:32] != place.sum:
        raise damaged(entry.pack, f"The array `{place.name}` of the episode {entry.key[:12]}… fails its checksum.")
    return Packed(place.dtype, place.shape, place.deflated, data)


def check_pack(path: Path) -> list[Entry]:
    """Reads a whole pack and compares it with its name and all its checksums.

    Raises:
        DataError: it is damaged; says how.
        OSError: the file cannot be read.
    """
    entries = read_entries(path)
    for entry in entries:
        try:
            for row in read_rows(entry):
                for packed in row.values():
                    if packed.deflated:
                        zlib.decompress(packed.data)
        except zlib.error as error:
            raise damaged(path, f"An array cannot be decompressed ({error}).") from error
    with path.open("rb") as stream:
        if digest(stream.read()) != path.name.removesuffix(SUFFIX):
            raise damaged(path, "Its content is not the one it is named by.")
    return entries


def damaged(path: Path, why: str) -> DataError:
    """The error about a pack that is not as it was written."""
    return DataError(
        f"The pack of scores {path.parent.name}/{path.name} is damaged.",
        why,
        "Remove it with `agentdistill cache verify --delete`; its scores are asked for again.",
    )
