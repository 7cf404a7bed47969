"""The one change to the simulator's code: its objects are hashed by their number within the world, not by address.

The simulator keeps the things of a room in hash sets, and describes the room in their order. `EnvObject` compares by
its number (`uuid`, counted from the beginning of a world) but hashes as Java does, by a random number that differs from
object to object and from run to run: the same variation is then described in another order in the next simulator.
Letting Java give all objects the same hash (`-XX:hashCode=2`) makes that order fixed and every set a list. A
`hashCode()` that returns the number makes it fixed and fast, and is what `equals` asks for anyway.

The method is put into the class file of the installed simulator in memory (a class file is a table of constants, then
fields, then methods; the Java Virtual Machine Specification, chapter 4); nothing of the simulator is distributed here.
"""

from __future__ import annotations

import struct

_SIZES = {3: 4, 4: 4, 5: 8, 6: 8, 7: 2, 8: 2, 9: 4, 10: 4, 11: 4, 12: 4, 15: 3, 16: 2, 17: 4, 18: 4, 19: 2, 20: 2}
"""Bytes of each kind of constant after its tag; kind 1, text, says its own length."""

_WIDE = (5, 6)
"""Kinds of constants that count as two: long and double."""


def hash_by_number(data: bytes) -> bytes:
    """A class file with `public int hashCode() { return (int) this.uuid; }` added.

    Args:
        data: class file of a class with a field `long uuid` and no `hashCode()` of its own.

    Raises:
        ValueError: it is not that.
    """
    try:
        return _with_method(data)
    except (struct.error, IndexError, KeyError) as error:
        raise ValueError("this is no class file") from error


def _with_method(data: bytes) -> bytes:
    if data[:4] != b"\xca\xfe\xba\xbe":
        raise ValueError("this is no class file")
    count = _u2(data, 8)
    constants_end, texts = _constants(data, count)
    this = _u2(data, constants_end + 2)
    fields_at = constants_end + 8 + 2 * _u2(data, constants_end + 6)
    methods_at, fields = _members(data, fields_at, texts)
    _, methods = _members(data, methods_at, texts)
    if ("uuid", "J") not in fields or ("hashCode", "()I") in methods:
        raise ValueError("its objects have no number, or know how to hash themselves")
    name, kind, code, uuid, long, pair, field = range(count, count + 7)
    constants = b"".join(b"\x01" + _packed(len(text)) + text for text in (b"hashCode", b"()I", b"Code", b"uuid", b"J"))
    constants += b"\x0c" + _packed(uuid, long) + b"\x09" + _packed(this, pair)
    body = b"\x2a\xb4" + _packed(field) + b"\x88\xac"  # aload_0, getfield uuid, l2i, ireturn
    code_attribute = _packed(2, 1) + struct.pack(">I", len(body)) + body + _packed(0, 0)
    method = _packed(1, name, kind, 1, code) + struct.pack(">I", len(code_attribute)) + code_attribute
    return b"".join(
        (
            data[:8],
            _packed(count + 7),
            data[10:constants_end],
            constants,
            data[constants_end:methods_at],
            _packed(_u2(data, methods_at) + 1),
            method,
            data[methods_at + 2 :],
        )
    )


def _constants(data: bytes, count: int) -> tuple[int, dict[int, str]]:
    """Where the table of constants ends, and the texts in it by their number."""
    at, number, texts = 10, 1, {}
    while number < count:
        tag = data[at]
        if tag == 1:
            size = 2 + _u2(data, at + 1)
            texts[number] = data[at + 3 : at + 1 + size].decode("utf-8", "replace")
        else:
            size = _SIZES[tag]
        at += 1 + size
        number += 2 if tag in _WIDE else 1
    return at, texts


def _members(data: bytes, at: int, texts: dict[int, str]) -> tuple[int, set[tuple[str, str]]]:
    """Where a table of fields or methods ends, and the names and types in it."""
    found = set()
    remaining, at = _u2(data, at), at + 2
    for _ in range(remaining):
        found.add((texts[_u2(data, at + 2)], texts[_u2(data, at + 4)]))
        attributes, at = _u2(data, at + 6), at + 8
        for _ in range(attributes):
            at += 6 + int(struct.unpack_from(">I", data, at + 2)[0])
    return at, found


def _u2(data: bytes, at: int) -> int:
    return int(struct.unpack_from(">H", data, at)[0])


def _packed(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}H", *numbers)
