"""Plugins: hooks, kinds, the registry, and the base class of every plugin's options.

Everything here is imported on first use, so that listing plugins needs neither pydantic nor torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentdistill.plugins.loader import Plugin
    from agentdistill.plugins.options import PluginConfig, SectionOf
    from agentdistill.plugins.registration import Registration
    from agentdistill.plugins.registry import PluginRegistry

_HOMES = {
    "Plugin": "agentdistill.plugins.loader",
    "PluginConfig": "agentdistill.plugins.options",
    "PluginRegistry": "agentdistill.plugins.registry",
    "Registration": "agentdistill.plugins.registration",
    "SectionOf": "agentdistill.plugins.options",
}

__all__ = ["Plugin", "PluginConfig", "PluginRegistry", "Registration", "SectionOf"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
