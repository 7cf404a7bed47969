"""A catalogue on disk, built once from rows in a stream: products, goals' raw material, search index."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from agentdistill.errors import DataError
from agentdistill_webshop.analysis import VERSION as ANALYSIS
from agentdistill_webshop.product import LONGEST_ASIN, MalformedRow, Product, is_left_out, parse_product
from agentdistill_webshop.search import IndexWriter
from agentdistill_webshop.spool import LineWriter, Spool, pack_asins

FORMAT = f"1.{ANALYSIS}"
"""Another format, another folder in the cache."""

_NAMED = 5
_WANTED = ("instruction", "instruction_attributes", "instruction_options")
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
    counts = {"rows": 0, "left_out": 0, "duplicates": 0}
    seen: set[str] = set()
    asins, category, categories = bytearray(), array("i"), dict[str, int]()
    synthetic, combinations, asked_for = array("i"), array("q"), array("i")
    index = IndexWriter(folder / "index")
    with (
        _spool_attributes(rows, problems, folder) as attributes,
        _spool_instructions(rows, problems, folder) as instructions,
        LineWriter(folder / "products.bin") as products,
        LineWriter(folder / "human.bin") as human,
    ):
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
                product = parse_product(row, attributes.get(asin) if isinstance(asin, str) else None)
            except MalformedRow as error:
                problems.add(f"row {number}" + (f" ({asin})" if isinstance(asin, str) else ""), str(error))
                continue
            seen.add(product.asin)
            place = len(products)
            products.add(product.to_bytes())
            index.add(product.document)
            asins += product.asin.encode().ljust(LONGEST_ASIN, b"\0")
            category.append(categories.setdefault(product.category, len(categories)))
            if product.instruction is not None and product.instruction_attributes:
                synthetic.append(place)
                combinations.append(combinations_of(product))
            for entry in instructions.get(product.asin) or ():
                human.add(json.dumps(entry).encode())
                asked_for.append(place)
        products.finish()
        human.finish()
    problems.settle(skip_malformed)
    if not asins:
        raise DataError("The catalogue has no products.", f"Of {counts['rows']} rows none could be used.")
    index.finish()
    names = pack_asins(asins)
    order = np.argsort(names, kind="stable")
    np.save(folder / "asins.npy", names[order])
    np.save(folder / "asin_places.npy", order.astype(np.int32))
    np.save(folder / "category.npy", np.array(category, np.int32))
    np.save(folder / "synthetic.npy", np.array(synthetic, np.int32))
    np.save(folder / "combinations.npy", np.array(combinations, np.int64))
    np.save(folder / "asked_for.npy", np.array(asked_for, np.int32))
    about = {
        "format": FORMAT,
        "products": len(names),
        **counts,
        "malformed": problems.summary(),
        "rows_from": rows.provenance(),
        "categories": list(categories),
    }
    (folder / "about.json").write_text(json.dumps(about, ensure_ascii=False) + "\n", encoding="utf-8")


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


def _spool_attributes(rows: Rows, problems: _Problems, folder: Path) -> Spool:
    spool = Spool(folder)
    for asin, entry in rows.attributes():
        if isinstance(entry, dict):
            spool.add(asin, {key: entry[key] for key in _FIELDS if key in entry})
        else:
            problems.add(f"attributes of {asin}", f"it is a {type(entry).__name__}, not an object")
    return spool


def _spool_instructions(rows: Rows, problems: _Problems, folder: Path) -> Spool:
    """What a goal needs of each human instruction. Those without attributes are left out, as the authors do."""
    spool = Spool(folder)
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
                kept.append([entry[key] for key in _WANTED])
        spool.add(asin, kept)
    return spool


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
