"""The original WebShop files in a folder that the user names, read in a stream."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agentdistill.errors import DataError
from agentdistill.hashing import digest
from agentdistill_webshop.stream import stream_array, stream_object

ITEMS, ATTRIBUTES, HUMAN = "items_shuffle", "items_ins_v2", "items_human_ins"
_PART = re.compile(r"_(\d+)\.json")


class OriginalFiles:
    """A catalogue's rows, from `items_shuffle*.json`, `items_ins_v2*.json` and `items_human_ins.json`.

    Args:
        folder: where the files are.
        products: number of rows to use from the beginning of the items file; None uses all.

    Raises:
        DataError: the folder or one of the files is missing, or there are several of one kind.
    """

    def __init__(self, folder: Path, products: int | None) -> None:
        if not folder.is_dir():
            raise DataError(
                f"There is no folder {folder} with WebShop's data.",
                do="Name the folder with the original files in env.data, or leave it out to generate a catalogue.",
            )
        self._items = _one(folder, ITEMS)
        self._attributes = _matching(folder, ATTRIBUTES, self._items)
        self._human = _one(folder, HUMAN)
        self._limit = products
        self._hashes = {path.name: hashlib.sha256() for path in self._paths}

    @property
    def _paths(self) -> tuple[Path, Path, Path]:
        return self._items, self._attributes, self._human

    def identity(self) -> str:
        """Sixteen hex digits: other files, other digits. Size and time of change stand for the contents."""
        facts = [[str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns] for p in self._paths]
        return digest(["files", facts, self._limit])[:16]

    def items(self) -> Iterator[Any]:
        """Rows of the items file."""
        for number, row in enumerate(stream_array(self._items, self._hashes[self._items.name].update)):
            if self._limit is not None and number >= self._limit:
                return
            yield row

    def attributes(self) -> Iterator[tuple[str, Any]]:
        """Asin and entry of the attributes file."""
        return stream_object(self._attributes, self._hashes[self._attributes.name].update)

    def human(self) -> Iterator[tuple[str, Any]]:
        """Asin and list of human instructions."""
        return stream_object(self._human, self._hashes[self._human.name].update)

    def provenance(self) -> dict[str, Any]:
        """Names and hashes of the files as far as they were read, for results."""
        return {
            "kind": "original",
            "rows": self._limit,
            "sha256": {name: found.hexdigest()[:16] for name, found in self._hashes.items()},
        }


def _one(folder: Path, stem: str) -> Path:
    found = sorted(path for path in folder.glob(f"{stem}*.json") if path.is_file())
    if len(found) == 1:
        return found[0]
    if not found:
        raise DataError(
            f"{folder} has no file {stem}*.json.",
            f"WebShop's data are {ITEMS}*.json, {ATTRIBUTES}*.json and {HUMAN}.json.",
            "Put all three into one folder and name it in env.data.",
        )
    raise DataError(
        f"{folder} has several files {stem}*.json: {', '.join(path.name for path in found)}.",
        do="Put the ones that belong together into a folder of their own.",
    )


def _matching(folder: Path, stem: str, items: Path) -> Path:
    """The attributes of the same part of the catalogue: `items_ins_v2_1000.json` with `items_shuffle_1000.json`."""
    found = _one(folder, stem)
    part, other = _PART.search(items.name), _PART.search(found.name)
    if (part and part[1]) != (other and other[1]):
        raise DataError(
            f"{items.name} and {found.name} are of two catalogues.",
            "Products without attributes cannot be asked for.",
            "Put files of the same size into one folder.",
        )
    return found
