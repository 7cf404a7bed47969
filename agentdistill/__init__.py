"""agentdistill: small agents learn from big ones by acting.

The names below are imported on first use, so that `import agentdistill` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pluggy

from agentdistill.envs.registration import follow_gymnasium

if TYPE_CHECKING:
    from agentdistill.config.load import load_config
    from agentdistill.plugins.options import PluginConfig
    from agentdistill.plugins.registry import PluginRegistry
    from agentdistill.training.evaluation import evaluate
    from agentdistill.training.run import Run

__version__ = "0.1.0.dev0"

hookimpl = pluggy.HookimplMarker("agentdistill")
"""Marks a plugin's hook implementations."""

_HOMES = {
    "PluginConfig": "agentdistill.plugins.options",
    "PluginRegistry": "agentdistill.plugins.registry",
    "Run": "agentdistill.training.run",
    "load_config": "agentdistill.config.load",
}

__all__ = ["PluginConfig", "PluginRegistry", "Run", "__version__", "evaluate", "hookimpl", "load_config"]


def __getattr__(name: str) -> Any:
    if name == "evaluate":  # a package that can be called; importing it puts it here
        return importlib.import_module("agentdistill.evaluate")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, "evaluate"})


follow_gymnasium()
