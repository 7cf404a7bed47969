"""Content that means the same on every machine, and hashes of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import urlsplit, urlunsplit

_SECRET = re.compile(
    r"(?i)(^|[_\-.])(api[_\-]?key|secret|password|passwd|credentials?|(auth|access|bearer)[_\-]?token)$"
)


def digest(value: Any) -> str:
    """SHA-256 of a JSON-able value (canonical form) or of bytes, as 64 hex digits."""
    if isinstance(value, bytes):
        data = value
    else:
        data = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    return hashlib.sha256(data).hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def neutral(value: Any, key: str = "") -> Any:
    """A copy of plain data without what only this machine knows.

    Args:
        value: plain data: mappings, lists, tuples, paths, text and numbers.
        key: the key it stands under; a key that names a secret hides its value.

    Returns:
        The copy. Absolute paths become `…/last-part`, the host of an address becomes `host`, secrets `(hidden)`.
    """
    if _SECRET.search(key) and value not in (None, ""):
        return "(hidden)"
    if isinstance(value, Mapping):
        return {name: neutral(item, str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [neutral(item) for item in value]
    if isinstance(value, PurePath):
        return neutral(str(value))
    if isinstance(value, str):
        return _neutral_text(value)
    return value


def _neutral_text(text: str) -> str:
    if "\n" in text:
        return text
    if re.match(r"[A-Za-z][A-Za-z0-9+.\-]*://", text):
        parts = urlsplit(text)
        if parts.scheme == "file":
            return f"file://…/{PurePosixPath(parts.path).name}"
        return urlunsplit((parts.scheme, "host", parts.path, "", "")) if parts.netloc else text
    # Two components at least: a prompt may begin with a switch such as "/no_think", which is no path.
    for path in (PurePosixPath(text), PureWindowsPath(text)):
        if (path.is_absolute() and len(path.parts) > 2) or text.startswith("~/"):
            return f"…/{path.name}"
    return text
