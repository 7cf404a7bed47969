#!/usr/bin/env python
"""Writes the reference parts of docs/plugins.md and docs/configuration.md, and docs/methods, from the code.

    python scripts/make_reference_docs.py          # rewrites what stands between the markers
    python scripts/make_reference_docs.py --check  # fails when something is out of date

The text around the markers `<!-- begin NAME -->` and `<!-- end NAME -->` is written by hand.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel

from agentdistill.config.schema import PluginSection, RunConfig
from agentdistill.config.toml import format_value
from agentdistill.diagnostics import RULES
from agentdistill.plugins import hookspecs
from agentdistill.plugins.kinds import KINDS
from agentdistill.plugins.loader import HOOKS
from agentdistill.plugins.options import field_descriptions, field_rows
from agentdistill.training.events import EVENTS

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


def attributes(cls: type) -> dict[str, str]:
    """Descriptions of a dataclass's fields, from the "Attributes:" section of its docstring."""
    section = inspect.cleandoc(cls.__doc__ or "").partition("Attributes:\n")[2]
    found = re.findall(r"^(\w+):\s*(.*(?:\n[ \t]+.*)*)", inspect.cleandoc(section), re.M)
    return {name: " ".join(text.split()) for name, text in found}


def summary(thing: object) -> str:
    """First paragraph of a docstring."""
    return " ".join(inspect.cleandoc(thing.__doc__ or "").partition("\n\n")[0].split())


def cell(text: str) -> str:
    """Text that may stand in a table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def registration_hooks() -> str:
    """A table of kinds with their hooks and targets."""
    lines = ["| kind | hook | what it is | target |", "|---|---|---|---|"]
    for kind in KINDS.values():
        target = " ".join(inspect.cleandoc(getattr(hookspecs, kind.hook).__doc__ or "").split()).partition(". ")[2]
        lines.append(f"| {kind.name} | `{kind.hook}(register)` | {cell(kind.summary)} | {cell(target)} |")
    return "\n".join(lines)


def lifecycle_hooks() -> str:
    """Every lifecycle hook with the fields of its event."""
    parts = []
    for event in EVENTS:
        lines = [f"### `{event.hook}(event: {event.__name__})`", "", summary(event), ""]
        described = attributes(event)
        for field in dataclasses.fields(event):
            lines.append(f"* `event.{field.name}`: {described[field.name]}")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def every_hook() -> str:
    """One line with the name of every hook."""
    return ", ".join(f"`{name}`" for name in HOOKS)


def default_of(model: type[BaseModel], name: str) -> str:
    """The default of a field as one writes it in TOML."""
    field = model.model_fields[name]
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "not set"
    if isinstance(value, BaseModel):
        return f"type = {format_value(value.type)}" if isinstance(value, PluginSection) else "see below"
    return f"`{format_value(value)}`"


def sections() -> str:
    """Every section of a recipe with its keys."""
    parts = []
    descriptions = field_descriptions(RunConfig)
    for name, outer in RunConfig.model_fields.items():
        model = model_of(outer.annotation)
        if model is None:
            raise TypeError(f"the section {name} is no model")
        parts += section(name, model, descriptions[name])
        for key, field in model.model_fields.items():
            inner = model_of(field.annotation)
            if inner is not None:
                parts += section(f"{name}.{key}", inner, field_descriptions(model)[key])
    return "\n\n".join(parts)


def model_of(annotation: object) -> type[BaseModel] | None:
    """The model of a section's annotation, through Optional."""
    from typing import get_args

    for candidate in (annotation, *get_args(annotation)):
        if inspect.isclass(candidate) and issubclass(candidate, BaseModel):
            return candidate
    return None


def section(path: str, model: type[BaseModel], description: str) -> list[str]:
    """One section: what it is, and a table of its keys."""
    head = f"### [{path}]\n\n{description[0].upper()}{description[1:].rstrip('.')}."
    if issubclass(model, PluginSection):
        kind = model.KIND
        head += (
            f" Its `type` names a plugin (`agentdistill plugins list --kind {kind}`), whose own keys stand here too."
        )
    described = field_descriptions(model)
    rows = [
        f"| `{key}` | {cell(kind)} | {cell(default_of(model, key))} | {cell(described[key])} |"
        for key, kind, _ in field_rows(model)
    ]
    own = [row for row in rows if not row.startswith("| `type` |")]
    if not own:
        return [head]
    return [head, "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *own])]


def warnings() -> str:
    """A table of the warnings that a run can raise."""
    lines = ["| warning | raised when, over the late window | what it means | what to do |", "|---|---|---|---|"]
    for rule in RULES:
        when = " or ".join(str(condition) for condition in rule.when)
        steady = "; judged at one depth only" if rule.steady else ""
        reads = f"{rule.number}: {when}{steady}"
        lines.append(f"| `{rule.name}` | {cell(reads)} | {cell(rule.means)} | {cell(rule.advice)} |")
    return "\n".join(lines)


BLOCKS: dict[str, dict[str, Callable[[], str]]] = {
    "plugins.md": {"kinds": registration_hooks, "lifecycle": lifecycle_hooks, "hooks": every_hook},
    "configuration.md": {"sections": sections},
    "diagnostics.md": {"warnings": warnings},
}


def render(path: Path, blocks: dict[str, Callable[[], str]]) -> str:
    """A page with its blocks written anew.

    Raises:
        ValueError: a marker is missing.
    """
    text = path.read_text(encoding="utf-8")
    for name, make in blocks.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"{path.name} has no block {name}")
        text = f"{before}{begin}\n{make()}\n{end}{after}"
    return text


def methods(write: bool) -> list[str]:
    """Names of the pages of docs/methods that are out of date, missing or of no method; writes or removes them."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))  # started as a script, only its own folder is there
    from scripts.method_pages import pages

    folder = DOCS / "methods"
    wanted = pages()
    there = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.md"))}
    stale = [name for name in sorted({*wanted, *there}) if wanted.get(name) != there.get(name)]
    if write:
        folder.mkdir(exist_ok=True)
        for name in stale:
            if name in wanted:
                (folder / name).write_text(wanted[name], encoding="utf-8")
            else:
                (folder / name).unlink()
    return [f"methods/{name}" for name in stale]


def main() -> None:
    """Writes or checks the pages."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is out of date")
    arguments = parser.parse_args()
    stale = []
    for name, blocks in BLOCKS.items():
        path = DOCS / name
        wanted = render(path, blocks)
        if wanted != path.read_text(encoding="utf-8"):
            stale.append(name)
            if not arguments.check:
                path.write_text(wanted, encoding="utf-8")
    stale += methods(write=not arguments.check)
    if stale and arguments.check:
        sys.exit(f"out of date: {', '.join(stale)}; run python scripts/make_reference_docs.py")
    print(f"{'wrote' if stale else 'up to date:'} {', '.join(stale or [*BLOCKS, 'methods/'])}")


if __name__ == "__main__":
    main()
