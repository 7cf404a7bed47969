"""When to try again, and how long to wait before."""

from __future__ import annotations

import email.utils
import random
import time
from collections.abc import Mapping

FIRST_WAIT = 0.5
"""Seconds before the first retry; doubled each time."""


def wait_before(attempt: int, identity: str, longest: float, asked: float | None = None) -> float:
    """Seconds to wait before a retry: what the endpoint asked for, else exponential back-off with jitter.

    The jitter spreads requests that failed together over half of the pause. It is drawn from the request's identity, so
    that the same run waits the same way.

    Args:
        attempt: number of the retry, from 1.
        identity: of the request.
        longest: most seconds of back-off.
        asked: seconds that the endpoint asked for.
    """
    if asked is not None:
        return asked
    pause = min(FIRST_WAIT * 2.0 ** (attempt - 1), longest)
    return pause * (0.5 + 0.5 * random.Random(f"{identity}:{attempt}").random())


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that an answer asks to wait, by `retry-after-ms` or `retry-after` (seconds, or a date), or None."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None or text is None:
        return seconds
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else -1.0
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None
