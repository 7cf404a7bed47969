"""Questions and answers of the user's own, from a JSONL file."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from agentdistill.errors import DataError
from agentdistill.hashing import digest

SPLITS = ("train", "eval", "test")
_NUMBER = re.compile(r"([-+]?)(\d{1,3}(?:,\d{3})+|\d{1,60})(\.\d{1,60})?(?:[eE]([-+]?\d{1,2}))?(?:/(\d{1,60}))?")
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Row:
    """One question.

    Attributes:
        key: its id, or a hash of the question.
        split: where it belongs.
        type: its kind, "question" when the file does not say.
        question: the question.
        answers: the answers that count as right.
    """

    key: str
    split: str
    type: str
    question: str
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QuestionFile:
    """A file of questions.

    Attributes:
        rows: its questions, in order.
        bad: number of rows left out.
        hash: sixteen hex digits over the rows.
    """

    rows: tuple[Row, ...]
    bad: int
    hash: str


def read_questions(path: Path, *, skip_bad: bool) -> QuestionFile:
    """Reads a file of questions.

    Args:
        path: a JSONL file.
        skip_bad: leave out rows that cannot be read; otherwise the first one is an error.

    Raises:
        DataError: the file cannot be read, has no questions, or has a bad row.
    """
    rows: list[Row] = []
    keys: dict[str, int] = {}
    bad = 0
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    row = _row(line)
                    if row.key in keys:
                        raise ValueError(f"it has the same id as line {keys[row.key]}, {row.key!r}")
                except (ValueError, RecursionError) as error:
                    if not skip_bad:
                        raise DataError(
                            f"Line {number} of {path.name} is no question: {error}.",
                            'A line is a JSON object with "question" and "answer".',
                            "Correct it, or leave such lines out with env.skip_bad_rows = true.",
                        ) from error
                    bad += 1
                    continue
                keys[row.key] = number
                rows.append(row)
    except OSError as error:
        raise DataError(
            f"The questions in {path.name} cannot be read.", f"{error.strerror}.", "Correct `env.questions`."
        ) from error
    if not rows:
        raise DataError(f"{path.name} has no questions.", f"{bad} of its lines cannot be read." if bad else "")
    content = [[row.key, row.split, row.type, row.question, list(row.answers)] for row in rows]
    return QuestionFile(tuple(rows), bad, digest(content)[:16])


def grade(answer: str, expected: Sequence[str]) -> float:
    """1.0 for an answer equal to an expected one, else 0.0.

    Numbers are compared as numbers, all else as text, with letter case, Unicode form, spaces and a full stop set aside.
    """
    given = _canonical(answer)
    return float(any(given == _canonical(one) for one in expected))


def _row(line: bytes) -> Row:
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError("it is not an object")
    question, answer = value.get("question"), value.get("answer")
    if not isinstance(question, str) or not question.strip():
        raise ValueError('it has no text under "question"')
    answers = answer if isinstance(answer, list) else [answer]
    if not answers or not all(isinstance(one, str | int | float) and not isinstance(one, bool) for one in answers):
        raise ValueError('it has no text or number under "answer"')
    key = str(value.get("id") if value.get("id") is not None else digest([question])[:16])
    split = value.get("split", _drawn(question))
    if split not in SPLITS:
        raise ValueError(f'its "split" is {split!r}, not one of {", ".join(SPLITS)}')
    texts = [question, key, *(str(one) for one in answers)]
    for text in texts:
        text.encode()  # a lone surrogate is a ValueError
    return Row(key, split, str(value.get("type") or "question"), question, tuple(texts[2:]))


def _drawn(question: str) -> str:
    place = int(digest(["split", question])[:8], 16) % 10
    return "train" if place < 8 else SPLITS[place - 7]


def _canonical(text: str) -> Any:
    text = unicodedata.normalize("NFKC", text).strip()
    if boxed := _BOXED.fullmatch(text.strip("$ ")):
        text = boxed[1]
    text = text.strip("$ ").removesuffix(".")
    if number := _NUMBER.fullmatch(text):
        sign, whole, fraction, exponent, below = number.groups()
        if below is None or int(below):
            value = Fraction(f"{whole.replace(',', '')}{fraction or ''}") * Fraction(10) ** int(exponent or 0)
            value = value / int(below) if below else value
            return -value if sign == "-" else value
    return " ".join(text.casefold().split())
