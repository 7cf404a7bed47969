"""Things worth computing once: a folder of the user, keyed by content, that may vanish at any time."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import warnings
import zlib
from pathlib import Path
from typing import Any

from agentdistill.cache import CACHE_VARIABLE, cache_directory

_told: list[Path] = []


def load(kind: str, key: str) -> Any:
    """Reads a cached JSON value.

    Args:
        kind: folder inside the cache.
        key: file name inside that folder, a content hash.

    Returns:
        The value, or None when there is none or it is damaged (it is computed anew then).
    """
    try:
        return json.loads(zlib.decompress(_path(kind, key).read_bytes()))
    except (OSError, zlib.error, ValueError):
        return None


def store(kind: str, key: str, value: Any) -> None:
    """Writes a JSON value so that no reader ever sees half of it. A cache that cannot be written costs only time.

    Args:
        kind: folder inside the cache.
        key: file name inside that folder, a content hash.
        value: anything JSON can hold.
    """
    path = _path(kind, key)
    data = zlib.compress(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(), 1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{key[:16]}-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
            os.replace(temporary, path)  # noqa: PTH105 - mkstemp gives a string
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108
            raise
    except OSError as error:
        if path.parent not in _told:
            _told.append(path.parent)
            warnings.warn(
                f"The cache folder {path.parent} cannot be written ({error.strerror or error}); every start repeats "
                f"its work. Set {CACHE_VARIABLE} to a folder that can be.",
                stacklevel=2,
            )


def _path(kind: str, key: str) -> Path:
    return cache_directory() / "alfworld" / kind / f"{key}.json.z"
