"""Class files of Java, read and written back with something added (The Java Virtual Machine Specification, chapter 4).

A class file is a table of constants, to which everything else points by number, then fields, then methods. Adding to
the end of a table leaves all numbers as they were; so does replacing an instruction by one of the same length. No more
than that is done here.
"""

from __future__ import annotations

import struct

_SIZES = {3: 4, 4: 4, 5: 8, 6: 8, 7: 2, 8: 2, 9: 4, 10: 4, 11: 4, 12: 4, 15: 3, 16: 2, 17: 4, 18: 4, 19: 2, 20: 2}
"""Bytes of each kind of constant after its tag; kind 1, text, says its own length."""

_WIDE = (5, 6)
"""Kinds of constants that count as two: long and double."""

_TEXT, _CLASS, _FIELD, _METHOD, _INTERFACE_METHOD, _PAIR = 1, 7, 9, 10, 11, 12
"""Kinds of constants that are made here."""

_PUBLIC, _STATIC = 1, 8

_CALL, _STATIC_CALL = b"\xb6", b"\xb8"
"""The instructions `invokevirtual` and `invokestatic`; the number of a method follows."""


class ClassFile:
    """A class, to be changed and written back.

    Args:
        data: the class file.

    Attributes:
        this: number of the constant that is the class itself.
        fields: name and type of each field.
        methods: name and type of each method, and where it begins and ends.

    Raises:
        ValueError: it is no class file.
    """

    def __init__(self, data: bytes) -> None:
        try:
            self._read(data)
        except (struct.error, IndexError, KeyError) as error:
            raise ValueError("this is no class file") from error

    def _read(self, data: bytes) -> None:
        if data[:4] != b"\xca\xfe\xba\xbe":
            raise ValueError("this is no class file")
        self._data = bytearray(data)
        self._count = _u2(data, 8)
        self._constants: dict[bytes, int] = {}
        self._texts: dict[int, str] = {}
        self._end = self._read_constants(data)
        self._added = b""
        self._fields_at = self._end + 8 + 2 * _u2(data, self._end + 6)
        self._methods_at, self.fields = self._members(data, self._fields_at)
        end, self.methods = self._members(data, self._methods_at)
        self._new_fields: list[bytes] = []
        self._new_methods: list[bytes] = []
        if end > len(data):
            raise ValueError("this is no class file")

    def _read_constants(self, data: bytes) -> int:
        """Notes the constants; returns where their table ends."""
        at, number = 10, 1
        while number < self._count:
            tag = data[at]
            if tag == _TEXT:
                size = 2 + _u2(data, at + 1)
                self._texts[number] = data[at + 3 : at + 1 + size].decode("utf-8", "replace")
            else:
                size = _SIZES[tag]
            self._constants.setdefault(bytes(data[at : at + 1 + size]), number)
            at += 1 + size
            number += 2 if tag in _WIDE else 1
        return at

    def _members(self, data: bytes, at: int) -> tuple[int, dict[tuple[str, str], tuple[int, int]]]:
        """Where a table of fields or methods ends, and the names, types and places in it."""
        found = {}
        remaining, at = _u2(data, at), at + 2
        for _ in range(remaining):
            start, pair = at, (self._texts[_u2(data, at + 2)], self._texts[_u2(data, at + 4)])
            attributes, at = _u2(data, at + 6), at + 8
            for _ in range(attributes):
                at += 6 + int(struct.unpack_from(">I", data, at + 2)[0])
            found[pair] = start, at
        return at, found

    def _constant(self, tag: int, rest: bytes) -> int:
        """The number of a constant, which is added unless it is there."""
        constant = bytes((tag,)) + rest
        if constant not in self._constants:
            self._constants[constant] = self._count
            self._added += constant
            self._count += 1
        return self._constants[constant]

    def text(self, text: str) -> int:
        """The number of a text."""
        return self._constant(_TEXT, packed(len(text)) + text.encode("ascii"))

    def class_(self, name: str) -> int:
        """The number of a class, e.g. `java/util/Map`, or of an array's type."""
        return self._constant(_CLASS, packed(self.text(name)))

    def field(self, owner: str, name: str, kind: str) -> int:
        """The number of a field of a class."""
        return self._constant(_FIELD, packed(self.class_(owner), self._pair(name, kind)))

    def method(self, owner: str, name: str, kind: str) -> int:
        """The number of a method of a class."""
        return self._constant(_METHOD, packed(self.class_(owner), self._pair(name, kind)))

    def interface_method(self, owner: str, name: str, kind: str) -> int:
        """The number of a method of an interface."""
        return self._constant(_INTERFACE_METHOD, packed(self.class_(owner), self._pair(name, kind)))

    def _pair(self, name: str, kind: str) -> int:
        return self._constant(_PAIR, packed(self.text(name), self.text(kind)))

    def add_static_field(self, name: str, kind: str) -> None:
        """Adds a public static field, null at first."""
        self._new_fields.append(packed(_PUBLIC | _STATIC, self.text(name), self.text(kind), 0))

    def add_method(
        self, name: str, kind: str, code: bytes, *, stack: int, places: int, static: bool = False, frames: bytes = b""
    ) -> None:
        """Adds a public method.

        Args:
            name: its name.
            kind: its type.
            code: its instructions.
            stack: most values on its stack.
            places: number of its local variables, parameters included.
            static: it belongs to the class.
            frames: what is in those places where a jump ends: the frames of a `StackMapTable`, one.
        """
        inner = b""
        if frames:
            inner = packed(self.text("StackMapTable")) + struct.pack(">IH", 2 + len(frames), 1) + frames
        body = packed(stack, places) + struct.pack(">I", len(code)) + code + packed(0, 1 if frames else 0) + inner
        flags = _PUBLIC | (_STATIC if static else 0)
        head = packed(flags, self.text(name), self.text(kind), 1, self.text("Code"))
        self._new_methods.append(head + struct.pack(">I", len(body)) + body)

    def redirect(self, within: str, old: int, new: int) -> None:
        """Has the one call of a method in the methods of some name call a static method, given the object first.

        Raises:
            ValueError: there is not exactly one call.
        """
        places = [
            at
            for (name, _), (start, end) in self.methods.items()
            if name == within
            for at in range(start, end - 2)
            if self._data[at : at + 3] == _CALL + packed(old)
        ]
        if len(places) != 1:
            raise ValueError(f"its method `{within}` makes another number of calls than it did")
        self._data[places[0] : places[0] + 3] = _STATIC_CALL + packed(new)

    def written(self) -> bytes:
        """The class file with all changes."""
        data, fields, methods = bytes(self._data), b"".join(self._new_fields), b"".join(self._new_methods)
        return b"".join(
            (
                data[:8],
                packed(self._count),
                data[10 : self._end],
                self._added,
                data[self._end : self._fields_at],
                packed(len(self.fields) + len(self._new_fields)),
                data[self._fields_at + 2 : self._methods_at],
                fields,
                packed(len(self.methods) + len(self._new_methods)),
                data[self._methods_at + 2 : self.methods_end()],
                methods,
                data[self.methods_end() :],
            )
        )

    def methods_end(self) -> int:
        """Where the table of methods ends in the file that was read."""
        return max((end for _, end in self.methods.values()), default=self._methods_at + 2)


def packed(*numbers: int) -> bytes:
    """Numbers of two bytes each."""
    return struct.pack(f">{len(numbers)}H", *numbers)


def _u2(data: bytes | bytearray, at: int) -> int:
    return int(struct.unpack_from(">H", data, at)[0])
