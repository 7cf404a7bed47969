"""Generated games on disk: made once, found again by what they were made from, safe with many processes."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agentdistill.cache import CACHE_VARIABLE, cache_directory
from agentdistill.errors import DataError, import_extra
from agentdistill_textworld.generate import IMPOSSIBLE
from agentdistill_textworld.specs import GameSpec

STORY, DATA = "game.z8", "game.json"

_PARTIAL = ".partial-"
_ABANDONED_SECONDS = 3600.0
_LONGEST_SECONDS = 600.0


def game_folder(spec: GameSpec) -> Path:
    """The folder of a game, which is made now if it is not there.

    Two processes that want the same game both make it, and the first one's stays.

    Args:
        spec: the game.

    Returns:
        A folder with `game.z8` and `game.json`, both complete.

    Raises:
        DataError: there is no such game, or the cache cannot be written.
        MissingExtraError: TextWorld is not installed.
    """
    import_extra("textworld", "textworld", "The TextWorld environment")
    identity = spec.identity(importlib.metadata.version("textworld"))
    folder = cache_directory() / "textworld" / identity[:2] / identity[:32]
    if _whole(folder):
        return folder
    with _beside(folder) as partial:
        _generate(spec, partial)
        if folder.exists() and not _whole(folder):
            shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # somebody else was faster
            partial.rename(folder)
    if not _whole(folder):
        raise DataError(
            f"The game `{spec.key}` was made, but is not in the cache.",
            f"{folder.parent} does not keep what is written there.",
            f"Set {CACHE_VARIABLE} to a folder that does.",
        )
    return folder


def _whole(folder: Path) -> bool:
    """Both files are there, and neither was cut short by a machine that lost power."""
    try:
        json.loads((folder / DATA).read_bytes())
        return (folder / STORY).stat().st_size > 0
    except (OSError, ValueError):
        return False


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """A folder on the same disk, gone at the end whatever happens."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for left in folder.parent.glob(f"{_PARTIAL}*"):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > _ABANDONED_SECONDS:
                    shutil.rmtree(left)
        partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=folder.parent))
    except OSError as error:
        raise DataError(
            f"The cache folder {folder.parent} cannot be written.",
            f"{error.strerror or error}.",
            f"TextWorld's games are made there; set {CACHE_VARIABLE} to a folder that can be written.",
        ) from error
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _generate(spec: GameSpec, folder: Path) -> None:
    request = {
        "kind": spec.kind,
        "parameters": dict(spec.parameters),
        "seed": spec.seed,
        "folder": str(folder.resolve()),
    }
    command = [sys.executable, "-P", str(Path(__file__).with_name("generate.py")), json.dumps(request)]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "TMPDIR": str(folder.resolve())}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LONGEST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(
            f"The game `{spec.key}` was not made within {_LONGEST_SECONDS:.0f} seconds.",
            "Its parameters ask for too much.",
            "Ask for smaller games.",
        ) from error
    if done.returncode == IMPOSSIBLE:
        raise DataError(
            f"TextWorld cannot make the game `{spec.key}`.",
            f"It says: {(done.stdout.strip().splitlines() or [''])[-1]}",
            f"Choose other parameters in [env.{spec.kind}].",
        )
    if done.returncode != 0:
        raise DataError(
            f"Making the game `{spec.key}` failed with status {done.returncode}.",
            f"The end of what it said: {(done.stderr.strip() or done.stdout.strip())[-600:]}",
            "Check the installation with: pip install --force-reinstall 'agentdistill[textworld]'",
        )
    for path in folder.iterdir():
        if path.name not in (STORY, DATA):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
