"""`agentdistill envs`: list and check environments."""

from __future__ import annotations

import json

import click

from agentdistill.cli.columns import columns
from agentdistill.cli.recipe import load_registry, plugin_option


@click.group()
def envs() -> None:
    """List and check environments."""


@envs.command("list")
@plugin_option
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def list_envs(plugins: tuple[str, ...], as_json: bool) -> None:
    """List the environments and their panels."""
    registry = load_registry(plugins)
    entries = sorted(registry.all("environment"), key=lambda entry: entry.name)
    panels = {
        entry.name: [p for p in registry.all("benchmark") if p.name.partition("/")[0] == entry.name]
        for entry in entries
    }
    if as_json:
        rows = [
            {
                "name": entry.name,
                "distribution": entry.distribution,
                "summary": entry.summary,
                "panels": {panel.name: panel.summary for panel in panels[entry.name]},
            }
            for entry in entries
        ]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    cells = [(entry.name, entry.distribution or "-p", entry.summary) for entry in entries]
    click.echo(columns(("ENVIRONMENT", "DISTRIBUTION", "SUMMARY"), cells))
    rows_of_panels = [(panel.name, panel.summary) for entry in entries for panel in panels[entry.name]]
    if rows_of_panels:
        click.echo()
        click.echo(columns(("PANEL", "SUMMARY"), rows_of_panels))
