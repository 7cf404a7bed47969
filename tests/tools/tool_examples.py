"""Tools of a user, for the tests: honest ones, and ones that misbehave."""

from __future__ import annotations

import os
import time
from typing import Literal


def weather(city: str, days: int = 1, unit: Literal["C", "F"] = "C") -> dict[str, object]:
    """Forecasts the weather.

    Longer text that an agent need not see.

    Args:
        city: where, in words
            of any language.
        days: how many days ahead.
        unit: scale of temperatures.

    Returns:
        A forecast.
    """
    return {"city": city, "days": days, "unit": unit, "sky": "clear"}


def total(numbers: list[float]) -> float:
    """Adds numbers.

    Args:
        numbers: the numbers.
    """
    return sum(numbers)


def hangs() -> str:
    """Never comes back."""
    while True:
        time.sleep(1)


def floods() -> str:
    """Says too much."""
    return "y" * 10_000_000


def raises() -> str:
    """Fails."""
    raise LookupError("no such thing: ü")


def exits() -> str:
    """Takes its process with it."""
    os._exit(3)


def prints() -> str:
    """Prints on top of answering."""
    print("this must not be taken for an answer")
    return "said"


def surrogates() -> str:
    """Returns what cannot be written."""
    return "\ud800"


def untyped(x) -> str:
    """Has no types."""
    return str(x)


def silent(x: int) -> str:
    return str(x)


def greedy(*numbers: int) -> str:
    """Takes any number of things."""
    return str(numbers)
