"""agentdistill: small agents learn from big ones by acting."""

from __future__ import annotations

import pluggy

__version__ = "0.1.0.dev0"

hookimpl = pluggy.HookimplMarker("agentdistill")
"""Marks a plugin's hook implementations."""

__all__ = ["__version__", "hookimpl"]
