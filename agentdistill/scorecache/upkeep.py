"""Looking after a cache of scores: what is in it, what is damaged, what may go."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from agentdistill.atomic import leftovers
from agentdistill.errors import DataError
from agentdistill.scorecache.card import TeacherCard, all_cards
from agentdistill.scorecache.pack import SUFFIX, check_pack, read_entries
from agentdistill.scorecache.store import locked


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of one teacher.

    Attributes:
        home: its folder.
        card: what is known of it; None when nobody wrote that down.
        packs: files.
        episodes: scored episodes in them.
        tokens: row tokens in them.
        size: bytes.
        used: when one of them was last needed, seconds since 1970; 0 without packs.
        unreadable: packs whose header is damaged.
    """

    home: Path
    card: TeacherCard | None
    packs: int
    episodes: int
    tokens: int
    size: int
    used: float
    unreadable: int


@dataclass(slots=True)
class Checked:
    """What `verify` found.

    Attributes:
        packs: files looked at.
        episodes: whole episodes in them.
        damaged: (file, what is wrong with it).
        removed: damaged files that were removed.
    """

    packs: int = 0
    episodes: int = 0
    damaged: list[tuple[Path, str]] = field(default_factory=list)
    removed: int = 0


@dataclass(slots=True)
class Pruned:
    """What `prune` removed, or would remove.

    Attributes:
        packs: the files, those that nobody needed for longest first.
        size: their bytes.
        left: bytes that stay.
    """

    packs: list[Path] = field(default_factory=list)
    size: int = 0
    left: int = 0


def stats(folder: Path) -> list[Kept]:
    """What is kept of each teacher, by its folder's name."""
    found = []
    for home, card in all_cards(folder).items():
        episodes = tokens = size = unreadable = 0
        used, packs = 0.0, list(_packs(home))
        for pack in packs:
            try:
                status = pack.stat()
                entries = read_entries(pack)
            except FileNotFoundError:
                continue
            except (DataError, OSError, ValueError, KeyError, TypeError):
                unreadable += 1
                continue
            size, used = size + status.st_size, max(used, status.st_mtime)
            scored = [entry for entry in entries if entry.tokens]
            episodes += len(scored)
            tokens += sum(entry.tokens for entry in scored)
        if packs:
            found.append(Kept(home, card, len(packs), episodes, tokens, size, used, unreadable))
    return found


def verify(folder: Path, *, delete: bool = False) -> Checked:
    """Reads every pack whole and compares it with its checksums and its name.

    Args:
        folder: the cache folder.
        delete: remove damaged packs; a run counts them as missing either way.
    """
    checked = Checked()
    for home in all_cards(folder):
        for pack in _packs(home):
            try:
                checked.episodes += sum(entry.tokens > 0 for entry in check_pack(pack))
                checked.packs += 1
            except FileNotFoundError:  # pruned meanwhile
                continue
            except (DataError, OSError, ValueError, KeyError, TypeError) as error:
                checked.packs += 1
                checked.damaged.append((pack, error.why if isinstance(error, DataError) else f"{error}"))
    if delete and checked.damaged:
        for home in sorted({pack.parent for pack, _ in checked.damaged}):
            with locked(home):
                for pack, _ in checked.damaged:
                    if pack.parent == home:
                        pack.unlink(missing_ok=True)
                        checked.removed += 1
    return checked


def prune(
    folder: Path,
    *,
    unused_seconds: float | None = None,
    max_bytes: int | None = None,
    home: Path | None = None,
    dry_run: bool = False,
) -> Pruned:
    """Removes whole packs, those first that nobody needed for longest; and what killed writers left behind.

    A run that shares the cache asks its teacher again for what it does not find any more.

    Args:
        folder: the cache folder.
        unused_seconds: remove packs that nobody needed for that long.
        max_bytes: then remove more until the rest is not larger.
        home: of this teacher's folder only, all of it when no other limit is given.
        dry_run: only say what would go.
    """
    now = time.time()
    homes = [home] if home is not None else list(all_cards(folder))
    everything = home is not None and unused_seconds is None and max_bytes is None
    known = []
    for pack in (pack for one in homes for pack in _packs(one)):
        try:
            status = pack.stat()
        except FileNotFoundError:
            continue
        known.append((status.st_mtime, pack, status.st_size))
    known.sort()
    pruned = Pruned(left=sum(size for _, _, size in known))
    for used, pack, size in known:
        old = unused_seconds is not None and now - used > unused_seconds
        if everything or old or (max_bytes is not None and pruned.left > max_bytes):
            pruned.packs.append(pack)
            pruned.size += size
            pruned.left -= size
    if not dry_run:
        for one in homes:
            _remove(one, [pack for pack in pruned.packs if pack.parent == one])
    return pruned


def _remove(home: Path, packs: list[Path]) -> None:
    with locked(home):
        for pack in packs:
            pack.unlink(missing_ok=True)
        for leftover in leftovers(home, SUFFIX):  # nobody writes while the folder is locked
            leftover.unlink(missing_ok=True)


def _packs(home: Path) -> Iterator[Path]:
    return iter(sorted(p for p in home.glob(f"*{SUFFIX}") if not p.name.startswith(".")))
