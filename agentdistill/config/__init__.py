"""Configuration: TOML layers merged left to right, dotted overrides, provenance for every value.

Imported on first use: pydantic stays out of `agentdistill --help`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentdistill.config.load import load_config
    from agentdistill.config.resolved import Origin, ResolvedConfig
    from agentdistill.config.schema import RunConfig

_HOMES = {
    "Origin": "agentdistill.config.resolved",
    "ResolvedConfig": "agentdistill.config.resolved",
    "RunConfig": "agentdistill.config.schema",
    "load_config": "agentdistill.config.load",
}

__all__ = ["Origin", "ResolvedConfig", "RunConfig", "load_config"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
