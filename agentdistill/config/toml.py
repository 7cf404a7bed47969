"""A small TOML writer (the standard library only reads), and TOML scalars for the command line."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def parse_scalar(text: str) -> Any:
    """Reads a command-line value as TOML, or as a string when it is none: `1e-5`, `true`, `[1, 2]`, `some/name`."""
    if "\n" in text or ("#" in text and text[:1] not in "\"'[{"):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _quote(text: str) -> str:
    """A basic string. JSON's escapes are TOML's, except that TOML wants DEL escaped too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def format_key(key: str) -> str:
    """A key, quoted where TOML wants it."""
    return key if _BARE.fullmatch(key) else _quote(key)


def format_value(value: Any) -> str:
    """A value on one line.

    Raises:
        TypeError: TOML cannot hold it.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
        text = repr(value)
        return text if any(c in text for c in ".e") else text + ".0"
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{format_key(k)} = {format_value(v)}" for k, v in value.items() if v is not None)
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(format_value(item) for item in value) + "]"
    raise TypeError(f"TOML cannot hold a {type(value).__name__}: {value!r}")


def dump(values: Mapping[str, Any], comment: Callable[[str], str] | None = None, unset: Collection[str] = ()) -> str:
    """Writes nested mappings as TOML tables. Keys whose value is None are left out.

    Args:
        values: the values.
        comment: text to put behind the value at a dotted path, "" for none. With it, keys whose value is
            None appear as comments.
        unset: dotted paths of None values that are written as `false`, which unsets them when read.
    """
    lines: list[tuple[str, str]] = []
    _table(values, (), lines, comment, unset)
    width = min(max((len(text) for text, note in lines if note), default=0), 48)
    return "\n".join(f"{text:<{width}}  # {note}" if note else text for text, note in lines).strip() + "\n"


def _table(
    table: Mapping[str, Any],
    path: tuple[str, ...],
    lines: list[tuple[str, str]],
    comment: Callable[[str], str] | None,
    unset: Collection[str],
) -> None:
    nested = {key: value for key, value in table.items() if isinstance(value, Mapping) or _several(value)}
    plain = {key: value for key, value in table.items() if key not in nested}
    if path and (plain or not nested):
        lines += [("", ""), (f"[{'.'.join(format_key(part) for part in path)}]", "")]
    for key, value in plain.items():
        dotted = ".".join((*path, key))
        note = comment(dotted) if comment else ""
        if value is None and dotted in unset:
            value = False
        if value is not None:
            lines.append((f"{format_key(key)} = {format_value(value)}", note))
        elif comment:
            lines.append((f"# {format_key(key)} is not set", note))
    for key, value in nested.items():
        inner = (*path, key)
        if isinstance(value, Mapping):
            _table(value, inner, lines, comment, unset)
            continue
        for number, one in enumerate(value):
            name = ".".join(format_key(part) for part in inner)
            lines += [("", ""), (f"[[{name}]]", comment(".".join(inner)) if comment else "")]
            within = None if comment is None else partial(_comment_within, comment, ".".join(inner), number)
            body: list[tuple[str, str]] = []
            _table(one, inner, body, within, unset)
            lines += body[2:] if body[:2] == [("", ""), (f"[{name}]", "")] else body


def _several(value: Any) -> bool:
    """Whether a value is a list of sections."""
    return isinstance(value, Sequence) and bool(value) and all(isinstance(one, Mapping) and one for one in value)


def _comment_within(comment: Callable[[str], str], of: str, number: int, path: str) -> str:
    return comment(f"{of}.{number}{path.removeprefix(of)}")
