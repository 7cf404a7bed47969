"""Values by asin on disk: a file's entries come in another order than they are needed in."""

from __future__ import annotations

import json
import tempfile
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agentdistill_webshop.product import LONGEST_ASIN


class Spool:
    """A table that is written once, then read. Thirty bytes of memory for each entry; the rest is in a file.

    Args:
        folder: where the file is, without a name.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by __exit__
        self._keys, self._starts = bytearray(), array("q", [0])
        self._names: npt.NDArray[np.bytes_] | None = None
        self._order: npt.NDArray[np.int64] = np.zeros(0, np.int64)

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, asin: str, value: Any) -> None:
        """Adds an entry. One for an asin that no product can have is forgotten."""
        if len(asin) <= LONGEST_ASIN and asin.isascii():
            self._starts.append(self._starts[-1] + self._file.write(json.dumps(value).encode()))
            self._keys += asin.encode().ljust(LONGEST_ASIN, b"\0")

    def get(self, asin: str) -> Any:
        """The entry of an asin, the last one if there are several, as JSON has it; None when it has none.

        Nothing can be added any more.
        """
        if self._names is None:
            self._file.flush()
            keys = pack_asins(self._keys)
            self._order = np.argsort(keys, kind="stable")
            self._names = keys[self._order]
        if not asin.isascii():
            return None
        after = int(np.searchsorted(self._names, asin.encode(), side="right"))
        if not after or self._names[after - 1] != asin.encode():
            return None
        place = int(self._order[after - 1])
        self._file.seek(self._starts[place])
        return json.loads(self._file.read(self._starts[place + 1] - self._starts[place]))


def pack_asins(keys: bytearray) -> npt.NDArray[np.bytes_]:
    """Asins, each padded with zeros to its full length, as an array."""
    return np.frombuffer(bytes(keys), f"S{LONGEST_ASIN}")


class LineWriter:
    """Lines of bytes in one file and their ends in another, to be read in any order.

    Args:
        path: the file; the ends are beside it.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._stream, self._ends = path, path.open("wb"), array("q")

    def __enter__(self) -> LineWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.close()

    def __len__(self) -> int:
        return len(self._ends)

    def add(self, line: bytes) -> None:
        """Adds a line."""
        self._ends.append((self._ends[-1] if self._ends else 0) + self._stream.write(line + b"\n"))

    def finish(self) -> None:
        """Writes the ends."""
        np.save(self._path.with_suffix(".npy"), np.array(self._ends, np.int64))


class Lines:
    """What a `LineWriter` wrote, memory-mapped.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._data = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)
        self._ends = np.load(path.with_suffix(".npy"), mmap_mode="r")

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number: int) -> bytes:
        start = int(self._ends[number - 1]) if number else 0
        return self._data[start : int(self._ends[number])].tobytes()
