"""What a result needs to say about how it came to be, and nothing about whose machine it was.

Absolute paths are shortened to their last part, host names in addresses and secrets are replaced, so that a
`results.json` can be published as it is.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agentdistill import __version__
from agentdistill.config.resolved import identity
from agentdistill.hashing import neutral

if TYPE_CHECKING:
    from agentdistill.envs.base import EnvironmentSource
    from agentdistill.models import LoadedModel
    from agentdistill.plugins.registry import PluginRegistry

PACKAGES = ("gymnasium", "numpy", "peft", "pydantic", "safetensors", "tokenizers", "torch", "transformers", "vllm")
"""Distributions whose version is noted when they are installed; an environment adds its own to its provenance."""


def versions(registry: PluginRegistry | None = None) -> dict[str, Any]:
    """Versions of this package, Python, the libraries below it, and the plugins' distributions. Imports nothing."""
    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    plugins = dict(sorted(registry.versions().items())) if registry is not None else {}
    return {
        "agentdistill": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": found,
        "plugins": plugins,
    }


def collect(
    config: Mapping[str, Any],
    *,
    registry: PluginRegistry | None = None,
    source: EnvironmentSource | None = None,
    models: Mapping[str, LoadedModel] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything about a run that its results should carry.

    Args:
        config: the resolved configuration as plain data.
        registry: the loaded plugins.
        source: the environment.
        models: by role, e.g. {"student": …, "teacher": …}.
        extra: more plain data, e.g. seeds or the step of the checkpoint.

    Returns:
        Plain, machine-neutral data: the same configuration on another machine gives the same dictionary, except for
        versions and data that really differ.
    """
    config = neutral(config)
    found: dict[str, Any] = {
        "versions": versions(registry),
        "config": config,
        "config_hash": identity(config),
    }
    if source is not None:
        found["environment"] = neutral(dict(source.provenance()))
    if models:
        found["models"] = {
            role: {"name": neutral(model.name), "fingerprint": model.fingerprint} for role, model in models.items()
        }
    return {**found, **neutral(dict(extra or {}))}
