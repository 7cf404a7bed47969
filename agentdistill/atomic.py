"""Files and directories that appear whole or not at all, whenever the process is killed.

The recipe is always the same: write beside the target under a temporary name, flush to disk, rename, flush the
folder. Temporary names start with a dot and contain `.partial-`, so a listing that ignores dot names never sees them.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agentdistill.errors import DataError


def _beside(path: Path) -> Path:
    return path.parent / f".{path.name}.partial-{os.getpid()}"


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file so that a reader sees the old content or the new one, never a mixture.

    Args:
        path: the file; its folder is made when missing.
        data: the whole new content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_to_disk(path.parent)


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 text file atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file atomically: indented, keys in the order given, strict (no bare NaN).

    Raises:
        ValueError: the value holds a non-finite float, which JSON cannot express.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Fills a directory that appears under its name only when it is complete.

    ```
    with atomic_directory(run / "checkpoints" / "step-000010") as folder:
        (folder / "state.json").write_text(...)
    ```

    Args:
        path: the directory to make.

    Yields:
        The temporary directory to write into.

    Raises:
        DataError: the directory exists.
    """
    if path.exists():
        raise DataError(
            f"The directory {path} exists.", "It would be overwritten.", "Choose another name or remove it."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    for root, _, files in os.walk(temporary):
        for name in files:
            _flush_to_disk(Path(root) / name)
        _flush_to_disk(Path(root))
    temporary.rename(path)
    _flush_to_disk(path.parent)


def leftovers(folder: Path, suffix: str = "") -> list[Path]:
    """What processes that were killed left in a folder, half written; what others write there at the moment, too.

    Args:
        folder: where they wrote.
        suffix: how the names end that the whole files would have had.
    """
    return sorted(folder.glob(f".*{suffix}.partial-*"))
