"""Where things that are worth keeping between runs lie: one folder of the user, that may vanish at any time."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "AGENTDISTILL_CACHE"
"""Environment variable that names the cache folder."""


def cache_directory() -> Path:
    """The cache folder: $AGENTDISTILL_CACHE, else $XDG_CACHE_HOME/agentdistill, else ~/.cache/agentdistill.

    Read at every call; the folder need not exist. Every package keeps to a folder of its own name below it.
    """
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).expanduser()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "agentdistill"
