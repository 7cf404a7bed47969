"""Panels: which tasks an evaluation plays. Named, fixed in order, hashed by content."""

from __future__ import annotations

import json
from pathlib import Path

from agentdistill.atomic import write_json
from agentdistill.codec import panel_from_dict, panel_to_dict
from agentdistill.envs.base import EnvironmentSource
from agentdistill.errors import ConfigError, DataError
from agentdistill.evaluate.published import with_size_note
from agentdistill.hashing import digest
from agentdistill.plugins.registry import PluginRegistry
from agentdistill.records import Panel, Task


def resolve_panel(
    name: str, *, source: EnvironmentSource, registry: PluginRegistry | None = None, limit: int | None = None
) -> Panel:
    """Finds a panel.

    Args:
        name: a registered benchmark's name; or "<environment>/<split>", all tasks of that split of `source`; or the
            path of a panel file (it ends in `.json`).
        source: the environment.
        registry: where benchmarks are looked up; None knows none.
        limit: play a fixed subset of that many tasks. The panel's name then says so.

    Returns:
        The panel, never empty and without duplicate tasks.

    Raises:
        ConfigError: there is no such panel, or it belongs to another environment.
        DataError: its data is missing or damaged.
    """
    if name.endswith(".json"):
        panel = load_panel(Path(name))
    elif registry is not None and name in registry.names("benchmark"):
        panel = registry.function("benchmark", {"type": name})(source)
    else:
        panel = _split_panel(name, source, registry)
    _check(panel, source)
    panel = with_size_note(panel)
    return panel if limit is None else limit_panel(panel, limit)


def _split_panel(name: str, source: EnvironmentSource, registry: PluginRegistry | None) -> Panel:
    # The name of an environment may hold a slash itself, as Gymnasium's "namespace/Name-v0" does.
    split = name.removeprefix(f"{source.name}/")
    if not split or split == name:
        benchmarks = registry.names("benchmark") if registry is not None else []
        known = f" Registered benchmarks: {', '.join(benchmarks)}." if benchmarks else ""
        raise ConfigError(
            f"There is no panel `{name}` for the environment `{source.name}`.",
            f"A panel is `{source.name}/SPLIT`, a registered benchmark, or a panel file (.json).{known}",
            f"Write for example --panel {source.name}/valid, with a split the environment has.",
        )
    return Panel(name=name, tasks=tuple(source.tasks(split)), provenance=dict(source.provenance()))


def _check(panel: Panel, source: EnvironmentSource) -> None:
    if not panel.tasks:
        raise DataError(f"The panel `{panel.name}` has no tasks.", "", "Check the environment's data and the split.")
    seen: dict[Task, None] = {}
    for task in panel.tasks:
        if task in seen:
            raise DataError(f"The panel `{panel.name}` has the task `{task.key}` twice.", "", "Remove one of them.")
        if task.env != source.name:
            raise ConfigError(
                f"The panel `{panel.name}` is of the environment `{task.env}`, the run's is `{source.name}`.",
                "",
                "Choose the other environment or another panel.",
            )
        seen[task] = None


def limit_panel(panel: Panel, limit: int) -> Panel:
    """A smaller panel: the same on every machine, spread over the whole list, and nested.

    Tasks are ranked by a hash of their identity, the first `limit` stay, in the panel's order. So the tasks of a
    smaller limit are among those of a larger one.

    Args:
        panel: the whole panel.
        limit: number of tasks to keep; at least as many as there are keeps the panel itself, name included.

    Raises:
        ConfigError: the limit is below 1.
    """
    if limit < 1:
        raise ConfigError(f"A panel of {limit} tasks cannot be played.", "", "Give a limit of at least 1.")
    if limit >= len(panel.tasks):
        return panel
    ranked = sorted(panel.tasks, key=lambda task: digest([task.env, task.split, task.key, task.seed]))
    kept = frozenset(ranked[:limit])
    return Panel(
        name=f"{panel.name} ({limit} of {len(panel.tasks)})",
        tasks=tuple(task for task in panel.tasks if task in kept),
        provenance={**panel.provenance, "limited_from": panel.hash},
    )


def save_panel(panel: Panel, path: Path) -> None:
    """Writes a panel file, which fixes an evaluation's tasks beyond any change of the data."""
    write_json(path, panel_to_dict(panel))


def load_panel(path: Path) -> Panel:
    """Reads a panel file.

    Raises:
        DataError: it is missing, no panel file, or was edited without renewing its hash.
    """
    try:
        return panel_from_dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise DataError(f"There is no panel file {path}.", "", "Check the path.") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is no panel file.", f"{type(error).__name__}: {error}.", "Check the path.") from error
