"""Whether a teacher has a cache: `[teacher] cache = "off" | "on" | "only"`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentdistill.cache import cache_directory
from agentdistill.errors import ConfigError, TokenizationError
from agentdistill.models import tokenizer_fingerprint
from agentdistill.scorecache.cached import CachedTeacher
from agentdistill.scorecache.card import TeacherCard, all_cards, card_of, find_card, section_name, write_card
from agentdistill.scorecache.stored import StoredTeacher
from agentdistill.teachers.optional import is_cacheable

if TYPE_CHECKING:
    from agentdistill.models import LoadedModel
    from agentdistill.teachers.base import Teacher

MODES = ("off", "on", "only")


def scores_folder(folder: str | None = None) -> Path:
    """The folder named, or that of all scores below the cache folder (`agentdistill.cache`)."""
    return Path(folder).expanduser() if folder else cache_directory() / "scores"


def with_cache(
    make: Callable[[], Teacher],
    *,
    mode: str | None,
    folder: str | None,
    type_name: str,
    options: Mapping[str, Any],
    student: LoadedModel | None,
) -> Teacher:
    """Makes a teacher, with or without a cache before it.

    Args:
        make: makes the teacher itself and compares its tokenizer with the student's; not called for "only".
        mode: one of `MODES`; None leaves it to the teacher (`cache_default`, "off" when it has none).
        folder: where scores are kept; None is `scores_folder()`.
        type_name: the teacher's plugin.
        options: its options, defaults filled in: what "only" knows it by.
        student: whose tokens are scored.

    Raises:
        ConfigError: the mode does not exist, the teacher's scores cannot be kept, or nothing is known of it.
        TokenizationError: scores were kept for another tokenizer than the student's.
    """
    if mode is not None and mode not in MODES:
        raise ConfigError(f"A teacher's cache is one of {', '.join(MODES)}, not {mode!r}.")
    home, section = scores_folder(folder), section_name(type_name, options)
    if mode == "only":
        return stored_teacher(
            home, find_card(home, section=section), student, f"this [teacher] section (`{type_name}`)"
        )
    teacher = make()
    chosen = mode or getattr(teacher, "cache_default", "off")
    if chosen == "off" or isinstance(teacher, StoredTeacher):
        return teacher
    if not is_cacheable(teacher):
        if mode is None:
            return teacher
        raise ConfigError(
            f"The scores of the teacher `{type_name}` cannot be kept.",
            "They depend on more than its weights and the episode's tokens: it moves, or it sees more of the episode.",
            "Leave out teacher.cache, or set it in the table of a teacher inside this one.",
        )
    vocabulary = tokenizer_fingerprint(student.tokenizer) if student is not None else ""
    name = str(options.get("model") or options.get("url") or "")
    cached = CachedTeacher(teacher, home, vocabulary)
    try:
        write_card(home, card_of(teacher, type_name, name, vocabulary), section)
    except OSError as error:
        cached.unwritable(error)
    return cached


def stored_teacher(home: Path, card: TeacherCard | None, student: LoadedModel | None, asked: str) -> StoredTeacher:
    """The teacher that a cache remembers.

    Args:
        home: the cache folder.
        card: of the teacher, None when there is none.
        student: whose tokens were scored.
        asked: who was looked for, for the error.

    Raises:
        ConfigError: nothing is known of it.
        TokenizationError: scores were kept for another tokenizer than the student's.
    """
    if card is None:
        known = [str(found) for found in all_cards(home).values() if found is not None]
        raise ConfigError(
            f"There are no kept scores of {asked}.",
            f"{home} has scores of: {', '.join(known) or 'nobody'}.",
            'Run once with teacher.cache = "on", or name one of these: teacher.type = "stored", teacher.fingerprint.',
        )
    vocabulary = tokenizer_fingerprint(student.tokenizer) if student is not None else ""
    if vocabulary and vocabulary not in card.vocabularies:
        raise TokenizationError(
            f"The kept scores of the teacher {card} are about another tokenizer's ids than the student's.",
            "They were made for students with another vocabulary, chat template or segmentation.",
            'Use the student\'s family, or teacher.cache = "on" with a teacher whose tokenizer can be compared.',
        )
    return StoredTeacher(card, home, vocabulary)
