"""The search engine: BM25 with Lucene's parameters, built in a stream, memory-mapped, asked through `bm25s`."""

from __future__ import annotations

import tempfile
from array import array
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agentdistill.errors import import_extra
from agentdistill_webshop.analysis import EXTRA, Analyzer

K1, B = 0.9, 0.4
"""Pyserini's defaults, which the authors use."""

RETURNED = 50
"""Products that a search returns."""

_BATCH = 1024
_POSTINGS = 1 << 21
_REMEMBERED = 256


class IndexWriter:
    """Builds an index with memory for the vocabulary and one batch of documents only.

    Terms of a batch are counted together, and written to a spool in the order of documents; at the end every spooled
    posting is put in its term's place. What results is bm25s' own layout: columns of scores, one for each term.

    Args:
        folder: where the index is to be.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self._analyzer = Analyzer()
        self._ids: dict[str, int] = {}
        self._batch: list[list[int]] = []
        self._lengths = array("i")
        self._frequencies: npt.NDArray[np.int64] = np.zeros(1 << 16, np.int64)
        self._spool = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by finish
        self._spooled = 0

    def add(self, document: str) -> None:
        """Adds the next document.

        Args:
            document: its text, lower case.
        """
        ids = self._ids
        self._batch.append([ids.setdefault(term, len(ids)) for term in self._analyzer.terms(document)])
        if len(self._batch) == _BATCH:
            self._flush()

    def _flush(self) -> None:
        if not self._batch:
            return
        lengths = np.array([len(terms) for terms in self._batch])
        terms = np.fromiter((term for document in self._batch for term in document), np.int64, int(lengths.sum()))
        keys = np.repeat(np.arange(len(lengths)), lengths) << 32 | terms
        keys, counts = np.unique(keys, return_counts=True)
        rows = np.empty((len(keys), 3), np.int32)
        rows[:, 0] = keys & 0xFFFFFFFF
        rows[:, 1] = (keys >> 32) + len(self._lengths)
        rows[:, 2] = counts
        self._spool.write(rows.tobytes())
        self._spooled += len(rows)
        while len(self._frequencies) < len(self._ids):
            self._frequencies = np.concatenate([self._frequencies, np.zeros_like(self._frequencies)])
        self._frequencies += np.bincount(rows[:, 0], minlength=len(self._frequencies))
        self._lengths.extend(lengths.tolist())
        self._batch.clear()

    def finish(self) -> None:
        """Writes the index. The writer cannot be used afterwards."""
        self._flush()
        lengths = np.array(self._lengths, np.float32)
        documents, terms = len(lengths), len(self._ids)
        frequencies = self._frequencies[:terms]
        starts = np.zeros(terms + 1, np.int64)
        np.cumsum(frequencies, out=starts[1:])
        inverse = np.log(1 + (documents - frequencies + 0.5) / (frequencies + 0.5)).astype(np.float32)
        average = float(lengths.mean()) if documents else 0.0
        norms = K1 * (1 - B + B * lengths / np.float32(average or 1.0))
        shape = (self._spooled,)
        indices = np.lib.format.open_memmap(self._folder / "indices.npy", "w+", np.dtype(np.int32), shape)
        scores = np.lib.format.open_memmap(self._folder / "scores.npy", "w+", np.dtype(np.float32), shape)
        place = starts[:-1].copy()
        self._spool.seek(0)
        while rows := self._spool.read(12 * _POSTINGS):
            table = np.frombuffer(rows, np.int32).reshape(-1, 3)
            table = table[np.argsort(table[:, 0], kind="stable")]
            column, first, count = np.unique(table[:, 0], return_index=True, return_counts=True)
            target = np.repeat(place[column] - first, count) + np.arange(len(table))
            place[column] += count
            times = table[:, 2].astype(np.float32)
            indices[target] = table[:, 1]
            scores[target] = inverse[table[:, 0]] * (times / (times + norms[table[:, 1]]))
        indices.flush()
        scores.flush()
        self._spool.close()
        np.save(self._folder / "starts.npy", starts)
        np.save(self._folder / "shape.npy", np.array([documents, terms], np.int64))
        _write_vocabulary(self._folder, self._ids)


def _write_vocabulary(folder: Path, ids: dict[str, int]) -> None:
    """Terms in the order of their bytes, and the id of each, so that nothing needs to be in memory."""
    encoded = sorted((term.encode("utf-8", "surrogatepass"), number) for term, number in ids.items())
    ends = np.cumsum(np.fromiter((len(term) for term, _ in encoded), np.int64, len(encoded)))
    (folder / "terms.bin").write_bytes(b"".join(term for term, _ in encoded))
    np.save(folder / "term_ends.npy", ends)
    np.save(folder / "term_ids.npy", np.fromiter((number for _, number in encoded), np.int32, len(encoded)))


class SearchEngine:
    """An index, opened memory-mapped.

    Args:
        folder: where `IndexWriter` wrote it.
    """

    def __init__(self, folder: Path) -> None:
        bm25s: Any = import_extra("bm25s", EXTRA, "WebShop's search engine")
        self._analyzer = Analyzer()
        documents, _ = np.load(folder / "shape.npy")
        self._engine = bm25s.BM25(k1=K1, b=B, method="lucene", int_dtype="int64")
        self._engine.scores = {
            "data": np.load(folder / "scores.npy", mmap_mode="r"),
            "indices": np.load(folder / "indices.npy", mmap_mode="r"),
            "indptr": np.load(folder / "starts.npy", mmap_mode="r"),
            "num_docs": int(documents),
        }
        self._engine.nonoccurrence_array = None  # words that do not occur add nothing
        terms = folder / "terms.bin"
        self._terms = np.memmap(terms, np.uint8, "r") if terms.stat().st_size else np.zeros(0, np.uint8)
        self._ends = np.load(folder / "term_ends.npy", mmap_mode="r")
        self._ids = np.load(folder / "term_ids.npy", mmap_mode="r")
        self._found: OrderedDict[str, tuple[int, ...]] = OrderedDict()
        self._numbers: dict[str, int] = {}

    def search(self, keywords: str) -> tuple[int, ...]:
        """The best documents for a query.

        Args:
            keywords: the query, lower case. Words that no document has do not matter.

        Returns:
            At most `RETURNED` document numbers: those with the highest scores, equal ones in catalogue order.
        """
        if keywords in self._found:
            self._found.move_to_end(keywords)
            return self._found[keywords]
        found = self._best(self.scores(keywords))
        if len(keywords) < 4096:
            self._found[keywords] = found
            if len(self._found) > _REMEMBERED:
                self._found.popitem(last=False)
        return found

    def scores(self, keywords: str) -> npt.NDArray[np.float32]:
        """The score of every document, float32 [documents]; 0 where no word of the query occurs."""
        numbers = [number for term in self._analyzer.terms(keywords) if (number := self._number(term)) >= 0]
        unique, times = np.unique(np.array(numbers, np.int64), return_counts=True)
        total: npt.NDArray[np.float32] | None = None
        # A word that is repeated counts as often as it stands there, and costs as much as once.
        for repeated in np.unique(times).tolist():
            part = self._engine.get_scores_from_ids(unique[times == repeated])
            if repeated > 1:
                part *= np.float32(repeated)
            total = part if total is None else total + part
        return np.zeros(self._engine.scores["num_docs"], np.float32) if total is None else total

    def _best(self, scores: npt.NDArray[np.float32]) -> tuple[int, ...]:
        if len(scores) > RETURNED:
            threshold = np.partition(scores, len(scores) - RETURNED)[len(scores) - RETURNED]
            candidates = np.flatnonzero(scores >= threshold) if threshold > 0 else np.flatnonzero(scores > 0)
        else:
            candidates = np.flatnonzero(scores > 0)
        order = np.argsort(-scores[candidates], kind="stable")[:RETURNED]
        return tuple(candidates[order].tolist())

    def _number(self, term: str) -> int:
        """The id of a term, -1 when no document has it."""
        number = self._numbers.get(term)
        if number is None:
            if len(self._numbers) > 1 << 16:
                self._numbers.clear()
            number = self._numbers[term] = self._look_up(term.encode("utf-8", "surrogatepass"))
        return number

    def _look_up(self, term: bytes) -> int:
        low, high = 0, len(self._ends)
        while low < high:
            middle = (low + high) // 2
            found = self._term(middle)
            if found == term:
                return int(self._ids[middle])
            if found < term:
                low = middle + 1
            else:
                high = middle
        return -1

    def _term(self, place: int) -> bytes:
        start = int(self._ends[place - 1]) if place else 0
        return bytes(self._terms[start : int(self._ends[place])])
