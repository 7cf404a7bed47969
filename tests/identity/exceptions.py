"""Methods that do not learn to say the words, and why. Their pages in docs/methods quote this."""

from __future__ import annotations

UNABLE: dict[str, str] = {}
"""By "kind/name"."""
