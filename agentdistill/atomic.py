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

_PARTIAL = ".partial-"
_REPLACED = ".replaced-"


def _beside(path: Path, tag: str) -> Path:
    return path.parent / f".{path.name}{tag}{os.getpid()}"


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
    temporary = _beside(path, _PARTIAL)
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


def sweep(folder: Path) -> list[Path]:
    """Tidies a folder after a crash: removes partial writes, puts back what was being replaced.

    Call it only where no other process is writing into the same folder.

    Args:
        folder: the folder to look into (not below it).

    Returns:
        The leftovers that were found, by their temporary names, sorted.
    """
    leftovers = sorted(
        p for p in folder.iterdir() if p.name.startswith(".") and (_PARTIAL in p.name or _REPLACED in p.name)
    )
    for leftover in leftovers:
        if _REPLACED in leftover.name:
            target = folder / leftover.name[1:].rpartition(_REPLACED)[0]
            if not target.exists():
                leftover.rename(target)
                continue
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()
    return leftovers


@contextmanager
def atomic_directory(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Fills a directory that appears under its name only when it is complete.

    ```
    with atomic_directory(run / "checkpoints" / "step-000010") as folder:
        (folder / "state.json").write_text(...)
    ```

    Args:
        path: the directory to make.
        replace: an existing directory of that name is replaced. The old one is moved aside first; killed between
            the two renames, `sweep` puts it back. Without `replace` the switch is one rename.

    Yields:
        The temporary directory to write into.

    Raises:
        DataError: the directory exists and `replace` is False.
    """
    if path.exists() and not replace:
        raise DataError(
            f"The directory {path} exists.", "It would be overwritten.", "Choose another name or remove it."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, replaced = _beside(path, _PARTIAL), _beside(path, _REPLACED)
    for leftover in (temporary, replaced):
        shutil.rmtree(leftover, ignore_errors=True)
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
    if path.exists():
        path.rename(replaced)
    temporary.rename(path)
    _flush_to_disk(path.parent)
    shutil.rmtree(replaced, ignore_errors=True)
