"""A catalogue on disk, built once from rows in a stream: products, goals' raw material, search index."""

from __future__ import annotations

import json
import tempfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from agentdistill.errors import DataError
from agentdistill_webshop.analysis import VERSION as ANALYSIS
from agentdistill_webshop.product import LONGEST_ASIN, MalformedRow, Product, is_left_out, parse_product
from agentdistill_webshop.search import IndexWriter

FORMAT = f"1.{ANALYSIS}"
"""Another format, another folder in the cache."""

_NAMED = 5
_FIELDS = ("attributes", "instruction", "instruction_attributes")


class Rows(Protocol):
    """Where a catalogue's rows come from."""

    def identity(self) -> str:
        """Sixteen hex digits that name the contents."""
        ...

    def items(self) -> Iterator[Any]:
        """Rows as in `items_shuffle*.json`."""
        ...

    def attributes(self) -> Iterator[tuple[str, Any]]:
        """Asin and entry, as in `items_ins_v2*.json`, in any order."""
        ...

    def human(self) -> Iterator[tuple[str, Any]]:
        """Asin and instructions, as in `items_human_ins.json`."""
        ...

    def provenance(self) -> dict[str, Any]:
        """What a result says about the rows; complete once they were read."""
        ...


def build(rows: Rows, folder: Path, *, skip_malformed: bool) -> None:
    """Writes a catalogue into an empty folder.

    Args:
        rows: its rows.
        folder: the folder.
        skip_malformed: leave malformed rows out and count them; otherwise they are an error.

    Raises:
        DataError: there are malformed rows, or no product is left.
    """
    problems = _Problems()
    human = _human_instructions(rows, problems)
    counts = {"rows": 0, "left_out": 0, "duplicates": 0}
    seen: set[str] = set()
    ends, asins = array("q"), bytearray()
    categories: dict[str, int] = {}
    category = array("i")
    synthetic, combinations = array("i"), array("q")
    instructions: list[dict[str, Any]] = []
    index = IndexWriter(folder / "index")
    with _AttributeTable(rows, problems, folder) as table, (folder / "products.bin").open("wb") as out:
        size = 0
        for number, row in enumerate(rows.items()):
            counts["rows"] += 1
            if is_left_out(row):
                counts["left_out"] += 1
                continue
            asin = row.get("asin") if isinstance(row, dict) else None
            if isinstance(asin, str) and asin in seen:
                counts["duplicates"] += 1
                continue
            try:
                product = parse_product(row, table.get(asin) if isinstance(asin, str) else None)
            except MalformedRow as error:
                problems.add(f"row {number}" + (f" ({asin})" if isinstance(asin, str) else ""), str(error))
                continue
            seen.add(product.asin)
            data = product.to_bytes() + b"\n"
            size += out.write(data)
            ends.append(size)
            asins += product.asin.encode().ljust(LONGEST_ASIN, b"\0")
            category.append(categories.setdefault(product.category, len(categories)))
            place = len(ends) - 1
            if product.instruction is not None and product.instruction_attributes:
                synthetic.append(place)
                combinations.append(combinations_of(product))
            instructions += [{"product": place, **entry} for entry in human.get(product.asin, ())]
            index.add(product.document)
    problems.settle(skip_malformed)
    if not ends:
        raise DataError("The catalogue has no products.", f"Of {counts['rows']} rows none could be used.")
    index.finish()
    names: npt.NDArray[np.bytes_] = np.frombuffer(bytes(asins), f"S{LONGEST_ASIN}")
    order = np.argsort(names, kind="stable")
    np.save(folder / "product_ends.npy", np.array(ends, np.int64))
    np.save(folder / "asins.npy", names[order])
    np.save(folder / "asin_places.npy", order.astype(np.int32))
    np.save(folder / "category.npy", np.array(category, np.int32))
    np.save(folder / "synthetic.npy", np.array(synthetic, np.int32))
    np.save(folder / "combinations.npy", np.array(combinations, np.int64))
    _write_lines(folder / "human.jsonl", instructions)
    about = {
        "format": FORMAT,
        "products": len(ends),
        **counts,
        "malformed": problems.summary(),
        "rows_from": rows.provenance(),
        "categories": list(categories),
    }
    _write_lines(folder / "about.json", [about])


def combinations_of(product: Product) -> int:
    """Number of ways to choose one value for each option."""
    number = 1
    for values in product.options.values():
        number *= len(values)
    return number


class _Problems:
    """Rows that break the schema."""

    def __init__(self) -> None:
        self._count, self._named = 0, [""] * 0

    def add(self, where: str, why: str) -> None:
        self._count += 1
        if len(self._named) < _NAMED:
            self._named.append(f"{where}: {why}")

    def summary(self) -> dict[str, Any]:
        return {"count": self._count, "first": self._named}

    def settle(self, skip: bool) -> None:
        if self._count and not skip:
            more = f", and {self._count - len(self._named)} more" if self._count > len(self._named) else ""
            raise DataError(
                f"{self._count} malformed {'row' if self._count == 1 else 'rows'} in the catalogue.",
                f"{'; '.join(self._named)}{more}.",
                'Repair the files, or leave such rows out with env.malformed = "skip".',
            )


class _AttributeTable:
    """Entries of the attributes file by asin, on disk: their order is not that of the items."""

    def __init__(self, rows: Rows, problems: _Problems, folder: Path) -> None:
        self._spool = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by __exit__
        names, starts = bytearray(), array("q", [0])
        for asin, entry in rows.attributes():
            if len(asin) > LONGEST_ASIN or not asin.isascii():
                continue
            if not isinstance(entry, dict):
                problems.add(f"attributes of {asin}", f"it is a {type(entry).__name__}, not an object")
                continue
            wanted = {key: entry[key] for key in _FIELDS if key in entry}
            starts.append(starts[-1] + self._spool.write(json.dumps(wanted).encode()))
            names += asin.encode().ljust(LONGEST_ASIN, b"\0")
        table: npt.NDArray[np.bytes_] = np.frombuffer(bytes(names), f"S{LONGEST_ASIN}")
        self._order = np.argsort(table, kind="stable")
        self._names = table[self._order]
        self._starts = starts
        self._spool.flush()

    def __enter__(self) -> _AttributeTable:
        return self

    def __exit__(self, *error: object) -> None:
        self._spool.close()

    def get(self, asin: str) -> dict[str, Any] | None:
        """The entry of an asin, the last one if the file has several; None when it has none."""
        if not asin.isascii():
            return None
        after = int(np.searchsorted(self._names, asin.encode(), side="right"))
        if not after or self._names[after - 1] != asin.encode():
            return None
        place = int(self._order[after - 1])
        self._spool.seek(self._starts[place])
        entry: dict[str, Any] = json.loads(self._spool.read(self._starts[place + 1] - self._starts[place]))
        return entry


def _human_instructions(rows: Rows, problems: _Problems) -> dict[str, list[dict[str, Any]]]:
    """Instructions by asin, with what a goal needs. Those without attributes are left out, as the authors do."""
    found: dict[str, list[dict[str, Any]]] = {}
    for asin, entries in rows.human():
        if not isinstance(entries, list):
            problems.add(f"instructions of {asin}", f"they are a {type(entries).__name__}, not a list")
            continue
        kept = []
        for entry in entries:
            why = _wrong_instruction(entry)
            if why:
                problems.add(f"instruction of {asin}", why)
            elif entry["instruction_attributes"]:
                kept.append(
                    {
                        "instruction": entry["instruction"],
                        "attributes": entry["instruction_attributes"],
                        "options": entry["instruction_options"],
                    }
                )
        found[asin] = kept
    return found


def _wrong_instruction(entry: Any) -> str:
    if not isinstance(entry, dict):
        return f"it is a {type(entry).__name__}, not an object"
    if not _is_text(entry.get("instruction")):
        return "its 'instruction' is missing or no text"
    if not _are_texts(entry.get("instruction_attributes")):
        return "its 'instruction_attributes' are missing or no list of texts"
    options = entry.get("instruction_options")
    if not _are_texts(list(options.values()) if isinstance(options, dict) else options):
        return "its 'instruction_options' are missing or no texts"
    return ""


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(_is_text(item) for item in value)


def _is_text(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _write_lines(path: Path, values: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values), encoding="utf-8")
