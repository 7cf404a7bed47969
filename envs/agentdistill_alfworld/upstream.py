"""Imports of `alfworld` that leave no trace."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType

from agentdistill.errors import import_extra


def import_alfworld(module: str) -> ModuleType:
    """Imports a module of `alfworld` without its side effects.

    `alfworld.info` makes the folder $ALFWORLD_DATA at import, or ~/.cache/alfworld, and sets the variable; a missing
    data folder would then be an empty one. Both are left as they were.

    Args:
        module: dotted name, e.g. "alfworld.agents.expert".

    Returns:
        The module.

    Raises:
        MissingExtraError: the extra is not installed.
    """
    configured = os.environ.get("ALFWORLD_DATA")
    if "alfworld.info" in sys.modules or (configured and Path(configured).is_dir()):
        return import_extra(module, "alfworld", "The ALFWorld environment")
    os.environ["ALFWORLD_DATA"] = tempfile.gettempdir()
    try:
        return import_extra(module, "alfworld", "The ALFWorld environment")
    finally:
        if configured is None:
            del os.environ["ALFWORLD_DATA"]
        else:
            os.environ["ALFWORLD_DATA"] = configured
