"""Real ALFWorld games on disk: which there are, which are usable, and what is wrong with the others.

The layout is ALFWorld's: $ALFWORLD_DATA/json_2.1.1/<split>/<task>/<trial>/{game.tw-pddl, traj_data.json}. The games of
a split are those that `AlfredTWEnv` selects; their order is that of their keys, where `AlfredTWEnv` takes whatever
order the file system gives.
"""

from __future__ import annotations

import json
import os
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from agentdistill.errors import DataError
from agentdistill.hashing import digest
from agentdistill_alfworld import cache
from agentdistill_alfworld.dialect import GameText
from agentdistill_alfworld.game import TASK_TYPES

VARIABLE = "ALFWORLD_DATA"
RELEASE = "json_2.1.1"

PUBLISHED: Mapping[str, int | None] = {"train": 3553, "valid_seen": 140, "valid_unseen": 134, "valid_train": None}
"""The splits on disk and how many games ALFWorld's papers count in each; None where no paper does."""

_FORMAT = 1
_GAME, _TRAJECTORY = "game.tw-pddl", "traj_data.json"
_TEXTS = ("pddl_domain", "grammar", "pddl_problem")
_DOWNLOAD = f"Get the games with `alfworld-download` (of the package alfworld) and set {VARIABLE} to its folder."


@dataclass(frozen=True, slots=True)
class GameFile:
    """A usable game on disk.

    Attributes:
        key: "<task>/<trial>", the same on every machine.
        type: one of the six ALFRED task types.
        sha256: hash of the bytes of game.tw-pddl.
        folder: the trial's folder.
    """

    key: str
    type: str
    sha256: str
    folder: Path

    def text(self) -> GameText:
        """Reads the game.

        Raises:
            DataError: the file is not a game; it is named.
        """
        return _game_text(self.folder / _GAME)[0]

    def parameters(self) -> dict[str, str]:
        """The task in ALFRED's terms: "object_target", "parent_target", "toggle_target", ..., as the expert reads it.

        Raises:
            DataError: traj_data.json is damaged; it is named.
        """
        return _trajectory(self.folder / _TRAJECTORY)["pddl_params"]


@dataclass(frozen=True)
class DiskSplit:
    """A split on disk.

    Attributes:
        name: its name.
        games: the usable games, sorted by key.
        skipped: why `AlfredTWEnv` leaves other folders out -> how many.
        corrupt: key -> what is wrong with its files.
        published: number of games the papers count, None where they do not.
    """

    name: str
    games: tuple[GameFile, ...]
    skipped: Mapping[str, int]
    corrupt: Mapping[str, str]
    published: int | None

    @cached_property
    def hash(self) -> str:
        """Sixteen hex digits over the keys and contents of all games."""
        return digest([[game.key, game.sha256] for game in self.games])[:16]

    @property
    def complete(self) -> bool:
        """It has as many games as published, and none of its files is damaged."""
        return not self.corrupt and self.published in (None, len(self.games))

    def notes(self) -> list[str]:
        """What a reader of a result over this split must know; empty when all is as published."""
        notes = []
        if self.published is not None and len(self.games) != self.published:
            notes.append(f"{self.name} has {len(self.games)} of the {self.published:,} published games")
        notes += [f"{self.name}/{key} is left out: {why}" for key, why in sorted(self.corrupt.items())]
        return notes

    def provenance(self) -> dict[str, Any]:
        """Plain data for results."""
        return {
            "split": self.name,
            "kind": "real",
            "games": len(self.games),
            "published": self.published,
            "complete": self.complete,
            "hash": self.hash,
            "skipped": dict(sorted(self.skipped.items())),
            "notes": self.notes(),
        }


def data_root() -> Path | None:
    """The folder that $ALFWORLD_DATA names, read now, or None when it is not set."""
    value = os.environ.get(VARIABLE, "").strip()
    return Path(value).expanduser() if value else None


def disk_split(name: str, root: Path | None = None) -> DiskSplit:
    """Finds the games of a split.

    What a file holds is remembered in the user's cache under its size and time of change, so only the first call
    on a machine reads them all.

    Args:
        name: "train", "valid_seen", "valid_unseen" or "valid_train".
        root: folder as $ALFWORLD_DATA names it; None reads the variable.

    Returns:
        The split. Damaged files are named in a warning and in its notes; the other games are there.

    Raises:
        DataError: no data is configured, the split is not there, or it has no usable game.
    """
    root = data_root() if root is None else root
    if root is None:
        raise DataError(f"The split `{name}` is made of real ALFWorld games.", f"${VARIABLE} is not set.", _DOWNLOAD)
    folder = root / RELEASE / name
    if not folder.is_dir():
        there = [split for split in PUBLISHED if (root / RELEASE / split).is_dir()]
        raise DataError(
            f"There is no split `{name}` under ${VARIABLE}.",
            f"{folder} is not a folder; the splits there are: {', '.join(there) or 'none'}.",
            _DOWNLOAD,
        )
    key = digest([_FORMAT, str(folder.resolve())])
    remembered = cache.load("splits", key)
    known: dict[str, Any] = remembered if isinstance(remembered, dict) else {}
    games, skipped, corrupt, seen = [], Counter[str](), {}, {}
    for trial in _trials(folder):
        relative = trial.relative_to(folder).as_posix()
        if "movable" in relative or "Sliced" in relative:
            skipped["movable receptacle or sliced object"] += 1
            continue
        stamp = [_stamp(trial / name) for name in (_GAME, _TRAJECTORY)]
        entry = known.get(relative)
        if entry is None or entry["stamp"] != stamp:
            entry = {"stamp": stamp, **_inspect(trial)}
        seen[relative] = entry
        if entry.get("corrupt"):
            corrupt[relative] = entry["corrupt"]
        elif entry.get("skip"):
            skipped[entry["skip"]] += 1
        else:
            games.append(GameFile(relative, entry["type"], entry["sha256"], trial))
    if seen != known:
        cache.store("splits", key, seen)
    split = DiskSplit(name, tuple(games), skipped, corrupt, PUBLISHED.get(name))
    if not games:
        reasons = [f"{count} x {reason}" for reason, count in skipped.items()]
        reasons += [f"{key}: {why}" for key, why in corrupt.items()]
        why = f"{folder} holds none: {'; '.join(reasons) or 'it is empty'}."
        raise DataError(f"The split `{name}` has no usable game.", why, _DOWNLOAD)
    for note in split.notes():
        warnings.warn(f"ALFWorld data: {note}.", stacklevel=2)
    return split


def _trials(folder: Path) -> list[Path]:
    """Folders with a traj_data.json, in the order of their keys."""
    found = [Path(root) for root, _, files in os.walk(folder) if _TRAJECTORY in files]
    return sorted(found, key=lambda trial: trial.relative_to(folder).as_posix())


def _stamp(path: Path) -> list[int]:
    try:
        stat = path.stat()
    except OSError:
        return [-1, -1]
    return [stat.st_size, stat.st_mtime_ns]


def _inspect(trial: Path) -> dict[str, Any]:
    """What one folder is: a game, one to skip, or a damaged one."""
    try:
        kind = _trajectory(trial / _TRAJECTORY)["task_type"]
        if kind not in TASK_TYPES:
            return {"skip": f"task type {kind}"}
        if not (trial / _GAME).exists():
            return {"skip": "no game.tw-pddl"}
        text, content = _game_text(trial / _GAME)
        if "solvable" not in content:
            return {"skip": "not known to be solvable"}
        if not content["solvable"]:
            return {"skip": "unsolvable"}
        text.goal  # noqa: B018 - a game without a goal sentence is damaged
    except DataError as error:
        return {"corrupt": f"{error.what} {error.why}"}
    return {"type": kind, "sha256": digest((trial / _GAME).read_bytes())}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(content, dict):
        raise _damaged(path, "it is not a JSON object")
    return content


def _trajectory(path: Path) -> dict[str, Any]:
    content = _read_json(path)
    if not isinstance(content.get("task_type"), str) or not isinstance(content.get("pddl_params"), dict):
        raise _damaged(path, 'it has no "task_type" and "pddl_params"')
    return content


def _game_text(path: Path) -> tuple[GameText, dict[str, Any]]:
    content = _read_json(path)
    missing = [name for name in _TEXTS if not isinstance(content.get(name), str) or not content[name].strip()]
    if missing:
        raise _damaged(path, f"it lacks {', '.join(missing)}")
    return GameText(content["pddl_domain"], content["grammar"], content["pddl_problem"]), content


def _damaged(path: Path, why: str) -> DataError:
    name = "/".join(path.parts[-3:])
    return DataError(f"The file {name} is damaged.", f"Reading it failed: {why}.", "Restore it from the release.")
