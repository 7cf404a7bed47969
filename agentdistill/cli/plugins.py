"""`agentdistill plugins`: list, show, new, check."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from agentdistill.cli.columns import columns, prose
from agentdistill.cli.recipe import plugin_option, split_plugins
from agentdistill.errors import PluginError
from agentdistill.plugins.kinds import KINDS
from agentdistill.plugins.registry import PluginRegistry

if TYPE_CHECKING:
    from agentdistill.plugins.loader import Plugin
    from agentdistill.plugins.registration import Registration


@click.group()
def plugins() -> None:
    """List, show, make and check plugins."""


def _load(values: tuple[str, ...]) -> PluginRegistry:
    """Here a broken plugin is something to look at, even when it was named with -p."""
    return PluginRegistry.load(*split_plugins(values))


@plugins.command("list")
@plugin_option
@click.option("--kind", type=click.Choice(list(KINDS)), help="Only one kind.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def list_plugins(plugins: tuple[str, ...], kind: str | None, as_json: bool) -> None:
    """List everything that plugins registered, and the plugins that could not be loaded."""
    registry = _load(plugins)
    entries = registry.all(kind)
    clashing = {(group[0].kind, group[0].name): group for group in registry.clashes()}
    if as_json:
        rows = [_as_dict(entry, (entry.kind, entry.name) in clashing) for entry in entries]
        owners = [_plugin_dict(plugin) for plugin in registry.plugins]
        click.echo(json.dumps({"registrations": rows, "plugins": owners}, indent=2, ensure_ascii=False))
        return
    order = list(KINDS)
    entries = sorted(entries, key=lambda e: (order.index(e.kind), e.name))
    table = {
        "KIND": [e.kind for e in entries],
        "NAME": [e.name for e in entries],
        "FROM": [_origin(e) for e in entries],
        "SUMMARY": [e.summary for e in entries],
    }
    # What is the same in every row is said once, so that the summaries have room.
    origins = sorted(set(table["FROM"]))
    shown = [name for name in table if not (name == "KIND" and kind) and not (name == "FROM" and len(origins) < 2)]
    click.echo(columns(shown, list(zip(*(table[name] for name in shown), strict=True))))
    if len(origins) == 1:
        click.echo(f"\n{len(entries)} from {origins[0]}; `agentdistill plugins show NAME` tells the options of one.")
    for group in clashing.values():
        owners_text = " and ".join(str(entry.plugin) for entry in group)
        click.secho(f"\nclash: the {group[0].kind} `{group[0].name}` is registered by {owners_text}", fg="yellow")
    rest = [plugin for plugin in registry.plugins if plugin.status != "ok"]
    if rest:
        click.echo()
        broken = [(p.status, p.name, p.distribution or "-p", p.version, p.error) for p in rest]
        click.echo(columns(("STATUS", "PLUGIN", "DISTRIBUTION", "VERSION", "WHY"), broken))


@plugins.command("show")
@click.argument("name")
@plugin_option
@click.option("--kind", type=click.Choice(list(KINDS)), help="Where several kinds have that name.")
def show(name: str, plugins: tuple[str, ...], kind: str | None) -> None:
    """Show one registered thing with its options, or a plugin with its hooks."""
    from agentdistill.plugins.suggest import hint

    registry = _load(plugins)
    found = [entry for entry in registry.all(kind) if entry.name == name]
    owners = [] if kind else [plugin for plugin in registry.plugins if name in (plugin.name, plugin.module)]
    if not found and not owners:
        known = [*(entry.name for entry in registry.all(kind)), *(plugin.name for plugin in registry.plugins)]
        raise PluginError(f"Nothing is named `{name}`.{hint(name, known)}", do="See `agentdistill plugins list`.")
    blocks = [_describe(entry) for entry in found] + [_describe_plugin(plugin) for plugin in owners]
    click.echo("\n\n".join(blocks))


@plugins.command("check")
@click.argument("module", nargs=-1)
@plugin_option
@click.option("--strict", is_flag=True, help="Warnings fail too.")
def check(module: tuple[str, ...], plugins: tuple[str, ...], strict: bool) -> None:
    """Run the conformance kit on MODULEs (names of plugins, modules or .py files), or on all plugins."""
    from agentdistill.plugins.check import check_plugins

    registry = _load(plugins)
    findings = check_plugins(registry, module)
    for finding in findings:
        colour = {"error": "red", "warning": "yellow", "ok": "green"}[finding.level]
        click.echo(f"{click.style(f'{finding.level:<7}', fg=colour)}  {finding.subject}: {finding.message}")
    bad = [finding for finding in findings if finding.level == "error" or (strict and finding.level == "warning")]
    errors, warnings = (sum(f.level == level for f in findings) for level in ("error", "warning"))
    click.echo(f"{len(findings)} checked: {errors} errors, {warnings} warnings")
    if bad:
        sys.exit(1)


@plugins.command("new")
@click.argument("kind", type=click.Choice(["env", "teacher", "reward", "loss", "step-weight", "curriculum"]))
@click.argument("name")
@click.option("--output", metavar="DIR", help="The directory to make (default: ./NAME).")
def new(kind: str, name: str, output: str | None) -> None:
    """Write a complete plugin of KIND named NAME: a distribution with entry point, options, tests and README.

    It works as it is, and its tests pass: change it from there.
    """
    from pathlib import Path

    from agentdistill.atomic import atomic_directory
    from agentdistill.plugins.scaffolding import new_plugin

    files = new_plugin(kind, name, _load(()))
    directory = Path(output or name)
    with atomic_directory(directory) as folder:
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    for path in files:
        click.echo(f"{directory / path}")
    click.echo(f"\nNext:  cd {directory}  &&  pip install -e '.[test]'  &&  pytest")


def _version(entry: Registration) -> str:
    return entry.plugin.version if entry.plugin else ""


def _origin(entry: Registration) -> str:
    name = entry.plugin.name if entry.plugin else ""
    return f"{entry.distribution} {_version(entry)}".strip() if entry.distribution else f"-p {name}"


def _as_dict(entry: Registration, clash: bool) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "name": entry.name,
        "target": entry.target,
        "config": entry.config,
        "summary": entry.summary,
        "plugin": entry.plugin.name if entry.plugin else None,
        "distribution": entry.distribution,
        "version": _version(entry),
        "clash": clash,
    }


def _plugin_dict(plugin: Plugin) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "module": plugin.module,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "status": plugin.status,
        "error": plugin.error,
        "hooks": list(plugin.hooks),
        "provided": [list(item) for item in plugin.provided],
    }


def _describe(entry: Registration) -> str:
    """A registered thing: where it comes from, what it is, its options with types and defaults."""
    import inspect

    from agentdistill.plugins.options import field_descriptions, field_rows
    from agentdistill.plugins.registration import FILE_KINDS

    lines = [click.style(f"{entry.kind} {entry.name}", bold=True), f"  {entry.summary}", f"  from    {entry.plugin}"]
    if entry.kind in FILE_KINDS:
        return "\n".join([*lines, f"  path    {entry.path()}"])
    lines.append(f"  target  {entry.target}")
    target: Any = entry.load()
    own, module = inspect.getdoc(target) or "", inspect.getdoc(inspect.getmodule(target)) or ""
    for text in (module, "" if own in module or own.startswith("See `") else own):  # as on its page in docs/methods
        lines += ["", prose(text, 2)] if text else []
    model = entry.config_class()
    if not model.model_fields:
        return "\n".join([*lines, "", "  It takes no options."])
    lines += ["", "  Options:"]
    described = field_descriptions(model)
    rows = [(name, kind, default, described.get(name, "")) for name, kind, default in field_rows(model)]
    lines += [f"    {line}" for line in columns(("KEY", "TYPE", "DEFAULT", "MEANING"), rows, 4).splitlines()]
    return "\n".join(lines)


def _describe_plugin(plugin: Plugin) -> str:
    lines = [click.style(f"plugin {plugin.name}", bold=True), f"  from    {plugin}", f"  module  {plugin.module}"]
    lines.append(f"  status  {plugin.status}" + (f": {plugin.error}" if plugin.error else ""))
    lines += [f"  hook    {hook}" for hook in plugin.hooks]
    lines += [f"  gives   {kind} {name}" for kind, name in plugin.provided]
    if plugin.traceback:
        lines += ["", plugin.traceback.rstrip()]
    return "\n".join(lines)
