"""Did-you-mean: the sentence that follows an unknown name."""

from __future__ import annotations

from collections.abc import Iterable


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None when nothing is near."""
    import difflib

    folded = {candidate.lower().replace("_", "-"): candidate for candidate in sorted(known, reverse=True)}
    matches = difflib.get_close_matches(name.lower().replace("_", "-"), sorted(folded), n=1, cutoff=0.6)
    return folded[matches[0]] if matches else None


def hint(name: str, known: Iterable[str]) -> str:
    """The words "Did you mean `x`?" with a space before them, or nothing."""
    match = closest(name, known)
    return f" Did you mean `{match}`?" if match else ""


def listing(names: Iterable[str]) -> str:
    """Names for a sentence: "`a`, `b`, `c`", or "none"."""
    return ", ".join(f"`{name}`" for name in names) or "none"
