"""JSON files larger than memory, one element at a time."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agentdistill.errors import DataError

_CHUNK = 1 << 20
_LARGEST_ELEMENT = 1 << 26
_WHITESPACE = " \t\r\n"
_NUMBER_TAIL = 2
"""Characters after a number that may yet belong to it: of `1e+` the parser takes the 1."""

_UNCERTAIN = 16
"""Characters before the end of what was read where an error may only mean that the rest has not been read."""


def stream_array(path: Path, seen: Callable[[bytes], object] | None = None) -> Iterator[Any]:
    """The elements of a file that holds one JSON array, in order. Never more than one element is in memory.

    Args:
        path: the file.
        seen: told every byte that is read, in order, e.g. the `update` of a hash.

    Raises:
        DataError: the file cannot be read, or is no array.
    """
    with _Reader(path, seen) as reader:
        reader.expect("[")
        more = reader.peek() != "]"
        while more:
            yield reader.value()
            more = reader.goes_on("]")
        reader.end()


def stream_object(path: Path, seen: Callable[[bytes], object] | None = None) -> Iterator[tuple[str, Any]]:
    """The members of a file that holds one JSON object, in order. Never more than one value is in memory.

    Args:
        path: the file.
        seen: told every byte that is read, in order, e.g. the `update` of a hash.

    Raises:
        DataError: the file cannot be read, or is no object.
    """
    with _Reader(path, seen) as reader:
        reader.expect("{")
        more = reader.peek() != "}"
        while more:
            if reader.peek() != '"':
                raise reader.broken("a key in quotes is missing")
            key = reader.value()
            reader.expect(":")
            yield key, reader.value()
            more = reader.goes_on("}")
        reader.end()


class _Reader:
    """A window that moves over the text of a file."""

    def __init__(self, path: Path, seen: Callable[[bytes], object] | None) -> None:
        self._path, self._seen = path, seen
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._parse = json.JSONDecoder().raw_decode
        self._buffer, self._at, self._before, self._ended = "", 0, 0, False

    def __enter__(self) -> _Reader:
        try:
            self._stream = self._path.open("rb")
        except OSError as error:
            raise DataError(f"{self._path.name} cannot be read.", f"{error.strerror or error}.") from error
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.close()

    def broken(self, why: str) -> DataError:
        """The error that names the place."""
        return DataError(
            f"{self._path.name} is not the JSON it should be.",
            f"At character {self._before + self._at:,}: {why}.",
            "Download the file again, or repair it.",
        )

    def _fill(self, size: int) -> bool:
        if self._ended:
            return False
        data = self._stream.read(size)
        if self._seen is not None:
            self._seen(data)
        self._ended = not data
        try:
            text = self._decoder.decode(data, final=self._ended)
        except UnicodeDecodeError as error:
            raise self.broken(f"it is not UTF-8 ({error.reason})") from error
        self._before += self._at
        self._buffer, self._at = self._buffer[self._at :] + text, 0
        return not self._ended

    def peek(self) -> str:
        """The next character that is no white space, "" at the end of the file."""
        while True:
            while self._at < len(self._buffer):
                if self._buffer[self._at] not in _WHITESPACE:
                    return self._buffer[self._at]
                self._at += 1
            if not self._fill(_CHUNK):
                return ""

    def expect(self, character: str) -> None:
        """Steps over a character."""
        found = self.peek()
        if found != character:
            raise self.broken(f"{character!r} expected, {repr(found) if found else 'the end of the file'} found")
        self._at += 1

    def goes_on(self, closing: str) -> bool:
        """Whether another element follows; steps over the comma before it."""
        if self.peek() == closing:
            return False
        self.expect(",")
        return True

    def end(self) -> None:
        """Steps over the closing bracket, and makes sure that nothing follows."""
        self._at += 1
        if self.peek():
            raise self.broken("there is more after the end")

    def value(self) -> Any:
        """The next value, whatever it is."""
        self.peek()
        size = _CHUNK
        while True:
            try:
                value, end = self._parse(self._buffer, self._at)
            except RecursionError:
                raise self.broken("it is nested too deeply") from None
            except json.JSONDecodeError as error:
                waiting = error.msg.startswith("Unterminated string") or error.pos >= len(self._buffer) - _UNCERTAIN
                if self._ended or not waiting:
                    self._at = error.pos
                    raise self.broken(error.msg) from None
            else:
                if end + _NUMBER_TAIL < len(self._buffer) or self._ended:
                    self._at = end
                    return value
            if len(self._buffer) - self._at > _LARGEST_ELEMENT:
                raise self.broken(f"an element is longer than {_LARGEST_ELEMENT:,} characters")
            self._fill(size)
            size *= 2
