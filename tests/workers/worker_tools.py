"""A tool for the tests of worker processes."""

from __future__ import annotations

import time


def waits() -> str:
    """Never comes back."""
    while True:
        time.sleep(1)
