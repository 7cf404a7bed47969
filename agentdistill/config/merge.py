"""Layers: nested mappings merged left to right, each value remembering its layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from agentdistill.config.resolved import Origin
from agentdistill.errors import ConfigError


def merge(
    layers: Iterable[tuple[Mapping[str, Any], Origin]], typed: Iterable[str]
) -> tuple[dict[str, Any], dict[str, Origin]]:
    """Deep-merges layers; the last one wins.

    When a layer changes the `type` of a plugin section, or of a table within one, the other keys that earlier layers
    gave to it are dropped: they were options of another plugin. Of a section that is given several times, a layer may
    say the position, from 0: `reward.1.weight`; the position after the last adds one.

    Args:
        layers: (values, where they came from), first to last.
        typed: dotted paths of the sections whose `type` names a plugin.

    Returns:
        The merged values, and the origin of the value at every dotted path.
    """
    merged: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    sections = frozenset(typed)
    for values, origin in layers:
        _merge_into(merged, values, "", origin, origins, sections)
    return merged, origins


def _merge_into(
    base: dict[str, Any],
    layer: Mapping[str, Any],
    prefix: str,
    origin: Origin,
    origins: dict[str, Origin],
    typed: frozenset[str],
) -> None:
    section = prefix.rstrip(".")
    if "type" in layer and base.get("type", layer["type"]) != layer["type"] and _chooses(section, typed):
        base.clear()
        _forget(section, origins)
    for key, value in layer.items():
        path = f"{prefix}{key}"
        if _numbered(value) and path in typed and isinstance(base.get(key, []), list | dict):
            base[key] = _merge_numbered(base.get(key, []), value, path, origin, origins)
        elif isinstance(value, Mapping):
            if not isinstance(base.get(key), dict):
                base[key] = {}
                _forget(path, origins)
            _merge_into(base[key], value, f"{path}.", origin, origins, typed)
            if not base[key]:
                origins[path] = origin
        else:
            _forget(path, origins)
            base[key] = value
            origins[path] = origin


def _chooses(path: str, typed: frozenset[str]) -> bool:
    """Whether the `type` of a table names a plugin: it is a plugin's section, or stands in the options of one."""
    return path in typed or any(path.startswith(f"{section}.") for section in typed)


def _numbered(value: Any) -> bool:
    """Whether keys are positions in a list of sections: {"0": {...}, "1": {...}}."""
    return isinstance(value, Mapping) and bool(value) and all(str(key).isdigit() for key in value)


def _merge_numbered(
    base: list[Any] | dict[str, Any], layer: Mapping[str, Any], path: str, origin: Origin, origins: dict[str, Origin]
) -> list[Any]:
    """A layer over single sections of several; the position after the last one adds a section."""
    sections = [dict(one) for one in base] if isinstance(base, list) else [base]
    before = dict.fromkeys(str(source) for known, source in origins.items() if f"{known}.".startswith(f"{path}."))
    _forget(path, origins)
    for position, values in sorted((int(key), value) for key, value in layer.items()):
        if position > len(sections) or not isinstance(values, Mapping):
            raise ConfigError(
                f"`{path}.{position}` cannot be set.",
                f"There {'is 1 section' if len(sections) == 1 else f'are {len(sections)} sections'} of that name, "
                "counted from 0.",
                f"Write {path}.{min(position, len(sections))}.KEY VALUE.",
            )
        if position == len(sections):
            sections.append({})
        own = f"{path}.{position}"
        _merge_into(sections[position], values, f"{own}.", origin, {}, frozenset({own}))
    # A list is one value; it says every layer that had a part in it.
    origins[path] = Origin("file", ", ".join([*before, str(origin)])) if before else origin
    return sections


def _forget(path: str, origins: dict[str, Origin]) -> None:
    for known in [p for p in origins if p == path or p.startswith(f"{path}.")]:
        del origins[known]


def nest(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Turns dotted keys into nested mappings: {"optim.lr": 1} -> {"optim": {"lr": 1}}.

    Raises:
        ConfigError: a key is empty, or is both a value and a section.
    """
    nested: dict[str, Any] = {}
    for path, value in overrides.items():
        parts = [part.replace("-", "_") for part in path.split(".")]
        if not all(parts):
            raise ConfigError(f"`{path}` is no configuration key.", "Part of it is empty.", "Write it like optim.lr.")
        table = nested
        for depth, part in enumerate(parts[:-1]):
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise ConfigError(f"`{'.'.join(parts[: depth + 1])}` is given as a value and as a section.")
        if isinstance(table.get(parts[-1]), dict) and not isinstance(value, Mapping):
            raise ConfigError(f"`{path}` is given as a value and as a section.")
        table[parts[-1]] = value
    return nested


def origin_of(path: str, origins: Mapping[str, Origin]) -> Origin | None:
    """Origin of the value at a path: its own, that of the list or table that holds it, or that of what it holds."""
    probe = path
    while probe:
        if probe in origins:
            return origins[probe]
        probe = probe.rpartition(".")[0]
    return next((origin for known, origin in origins.items() if known.startswith(f"{path}.")), None)


def without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """A layer as TOML could hold it: None is a key that is not there."""
    return {
        key: without_none(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if value is not None
    }
