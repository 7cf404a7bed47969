"""What a result needs to say about how it came to be, and nothing about whose machine it was.

Absolute paths are shortened to their last part, host names in addresses and secrets are replaced, so that a
`results.json` can be published as it is.
"""

from __future__ import annotations

import importlib.metadata
import platform
import re
from collections.abc import Mapping
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from agentdistill import __version__
from agentdistill.hashing import digest

if TYPE_CHECKING:
    from agentdistill.envs.base import EnvironmentSource
    from agentdistill.models import LoadedModel
    from agentdistill.plugins.registry import PluginRegistry

PACKAGES = ("gymnasium", "numpy", "peft", "pydantic", "safetensors", "tokenizers", "torch", "transformers", "vllm")
"""Distributions whose version is noted when they are installed; an environment adds its own to its provenance."""

_SECRET = re.compile(
    r"(?i)(^|[_\-.])(api[_\-]?key|secret|password|passwd|credentials?|(auth|access|bearer)[_\-]?token)$"
)


def neutral(value: Any, key: str = "") -> Any:
    """A copy of plain data without what only this machine knows.

    Args:
        value: plain data: mappings, lists, tuples, paths, text and numbers.
        key: the key it stands under; a key that names a secret hides its value.

    Returns:
        The copy. Absolute paths become `…/last-part`, the host of an address becomes `host`, secrets `(hidden)`.
    """
    if _SECRET.search(key) and value not in (None, ""):
        return "(hidden)"
    if isinstance(value, Mapping):
        return {name: neutral(item, str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [neutral(item) for item in value]
    if isinstance(value, PurePath):
        return neutral(str(value))
    if isinstance(value, str):
        return _neutral_text(value)
    return value


def _neutral_text(text: str) -> str:
    if "\n" in text:
        return text
    if re.match(r"[A-Za-z][A-Za-z0-9+.\-]*://", text):
        parts = urlsplit(text)
        if parts.scheme == "file":
            return f"file://…/{PurePosixPath(parts.path).name}"
        return urlunsplit((parts.scheme, "host", parts.path, "", "")) if parts.netloc else text
    # Two components at least: a prompt may begin with a switch such as "/no_think", which is no path.
    for path in (PurePosixPath(text), PureWindowsPath(text)):
        if (path.is_absolute() and len(path.parts) > 2) or text.startswith("~/"):
            return f"…/{path.name}"
    return text


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
        "config_hash": digest(config)[:16],
    }
    if source is not None:
        found["environment"] = neutral(dict(source.provenance()))
    if models:
        found["models"] = {
            role: {"name": neutral(model.name), "fingerprint": model.fingerprint} for role, model in models.items()
        }
    return {**found, **neutral(dict(extra or {}))}
