"""What is known of a teacher whose scores are kept: enough to train from them without it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentdistill.atomic import write_json
from agentdistill.errors import DataError
from agentdistill.hashing import digest
from agentdistill.scorecache.store import locked, teacher_folder

if TYPE_CHECKING:
    from agentdistill.teachers.base import Teacher

CARD = "teacher.json"
SECTIONS = "sections"


@dataclass(frozen=True, slots=True)
class TeacherCard:
    """A teacher, as its scores remember it.

    Attributes:
        fingerprint: the teacher's own.
        type: its plugin.
        name: its model, address, or what else it was called.
        capabilities: what it could answer.
        needs: what it needed of an episode.
        members: names of several teachers in one.
        identities: fingerprints by which other records may know it, its model's among them.
        vocabularies: fingerprints of the students' tokenizers that were found to be its own.
        bound: its scores are kept for one of these tokenizers each, since it has no tokenizer of its own.
        keyed: its scores depend on more than an episode's rows (a hint, for instance), and only it knows on what.
    """

    fingerprint: str
    type: str
    name: str = ""
    capabilities: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    vocabularies: tuple[str, ...] = ()
    bound: bool = False
    keyed: bool = False

    def __str__(self) -> str:
        return f"{self.name or self.type} ({self.type}, {self.fingerprint[:16]})"


def card_of(teacher: Teacher, type_name: str, name: str, vocabulary: str) -> TeacherCard:
    """Describes a teacher.

    Args:
        teacher: the teacher.
        type_name: its plugin.
        name: how the recipe calls its model or address.
        vocabulary: fingerprint of the student's tokenizer, which has been compared with the teacher's.
    """
    return TeacherCard(
        fingerprint=teacher.fingerprint,
        type=type_name,
        name=name,
        capabilities=tuple(sorted(teacher.capabilities)),
        needs=tuple(sorted(teacher.needs)),
        members=tuple(getattr(teacher, "members", ())),
        identities=tuple(sorted(identities(teacher))),
        vocabularies=(vocabulary,) if vocabulary else (),
        bound=teacher.tokenizer is None,
        keyed=hasattr(teacher, "cache_key"),
    )


def identities(teacher: Teacher) -> frozenset[str]:
    """The fingerprints a teacher is known by: its own, and that of the model it plays with."""
    own = getattr(teacher, "identities", None)
    if own is not None:
        return frozenset(own)
    known = {teacher.fingerprint}
    if "act" in teacher.capabilities and not hasattr(teacher, "guide"):
        known.add(str(getattr(teacher.policy(), "fingerprint", teacher.fingerprint)))
    return frozenset(known)


def section_name(type_name: str, options: Mapping[str, Any]) -> str:
    """Identity of a [teacher] section, defaults filled in."""
    return digest(["section", type_name, dict(options)])[:16]


def write_card(folder: Path, card: TeacherCard, section: str) -> None:
    """Remembers a teacher, and that a section means it.

    Args:
        folder: the cache folder.
        card: the teacher.
        section: `section_name` of the section it was made from.

    Raises:
        OSError: the folder cannot be written.
    """
    home = teacher_folder(folder, card.fingerprint)
    with locked(home):
        try:
            before = read_card(home)
        except DataError:
            before = None
        if before is not None:
            more = tuple(sorted({*before.vocabularies, *card.vocabularies}))
            card = dataclasses.replace(card, vocabularies=more)
        if card != before:
            write_json(home / CARD, dataclasses.asdict(card))
    pointer = folder / SECTIONS / f"{section}.json"
    meant = {"fingerprint": card.fingerprint}
    if _read_json(pointer) != meant:
        write_json(pointer, meant)


def read_card(home: Path) -> TeacherCard | None:
    """The card in a teacher's folder; None without one.

    Raises:
        DataError: it cannot be read.
    """
    data = _read_json(home / CARD)
    if data is None:
        return None
    try:
        lists = {field.name for field in dataclasses.fields(TeacherCard) if "tuple" in str(field.type)}
        values: dict[str, Any] = {key: tuple(value) if key in lists else value for key, value in data.items()}
        return TeacherCard(**values)
    except (TypeError, AttributeError) as error:
        raise DataError(
            f"The card {home.name}/{CARD} of a teacher cannot be read.",
            f"{error}.",
            "Delete it; a run with the teacher writes it anew.",
        ) from error


def find_card(folder: Path, *, section: str = "", fingerprint: str = "") -> TeacherCard | None:
    """The teacher that a section meant when it was last made, or the one of a fingerprint; None when unknown.

    Args:
        folder: the cache folder.
        section: `section_name`.
        fingerprint: used when there is no `section`.
    """
    if section:
        meant = _read_json(folder / SECTIONS / f"{section}.json")
        fingerprint = str(meant.get("fingerprint", "")) if isinstance(meant, dict) else ""
    return read_card(teacher_folder(folder, fingerprint)) if fingerprint else None


def all_cards(folder: Path) -> dict[Path, TeacherCard | None]:
    """Every teacher's folder and card below a cache folder, by name; None where a card is missing or unreadable."""
    found: dict[Path, TeacherCard | None] = {}
    if not folder.is_dir():
        return found
    for home in sorted(p for p in folder.iterdir() if p.is_dir() and p.name != SECTIONS):
        try:
            found[home] = read_card(home)
        except DataError:
            found[home] = None
    return found


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
