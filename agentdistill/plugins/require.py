"""The one way in which a check of a plugin fails."""

from __future__ import annotations

from agentdistill.errors import PluginError


def require(condition: bool, message: str) -> None:
    """Raises `PluginError` with the message unless the condition holds."""
    if not condition:
        raise PluginError(message)
