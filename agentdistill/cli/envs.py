"""`agentdistill envs`: list and check environments."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from agentdistill.cli.columns import columns
from agentdistill.cli.recipe import RecipeCommand, load_registry, plugin_option, resolve
from agentdistill.errors import ConfigError, DataError, MissingExtraError

if TYPE_CHECKING:
    from agentdistill.envs.base import EnvironmentSource


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


@envs.command("check", cls=RecipeCommand)
@click.argument("environment")
@plugin_option
@click.option("--episodes", type=click.IntRange(min=1), default=2, show_default=True, help="Tasks to try.")
@click.option("--steps", type=click.IntRange(min=1), default=12, show_default=True, help="Random actions for each.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random play.")
def check(environment: str, plugins: tuple[str, ...], episodes: int, steps: int, seed: int) -> None:
    """Run every check on ENVIRONMENT: a name from `envs list` with --env.KEY VALUE, or a Gymnasium id."""
    registry = load_registry(plugins)
    from agentdistill.envs.check import iterate_checks
    from agentdistill.plugins.gymnasium_ids import is_gymnasium_id

    section = resolve((), plugins, registry, {"env.type": environment}).config.env
    assert section is not None
    source = registry.build("environment", section, "env")
    if is_gymnasium_id(environment):
        source.make().close()  # an id that cannot be made is one error, not eighteen
    _require_parts(source, section.split)
    results = []
    for result in iterate_checks(source, section.split, episodes=episodes, steps=steps, seed=seed):
        results.append(result)
        word = click.style("ok  ", fg="green") if result.passed else click.style("fail", fg="red")
        click.echo(f"{word}  {result.name:<11}  {result.detail}")
        if not result.passed:
            click.echo(f"      {'':<11}  rule: {result.rule}")
    failed = [result.name for result in results if not result.passed]
    click.echo(f"{len(results)} checks: {len(failed)} failed" + (f" ({', '.join(failed)})" if failed else ""))
    if failed:
        sys.exit(1)


def _require_parts(source: EnvironmentSource, split: str) -> None:
    """Says it once when no episode can start for want of programs, data or other options; checks find all else.

    Raises:
        MissingExtraError: an extra or a program that an episode needs is not installed.
        ConfigError: the options do not go with this machine or with each other.
        DataError: the split or its data are not there.
    """
    try:
        env = source.make()
        try:
            env.reset(seed=0, options={"task": source.tasks(split)[0]})
        finally:
            env.close()
    except (MissingExtraError, ConfigError, DataError):
        raise
    except Exception:
        return
