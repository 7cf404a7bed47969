"""`agentdistill train`."""

from __future__ import annotations

import click

from agentdistill.cli.recipe import RecipeCommand, check_resumable, load_registry, plugin_option, resolve, show_resolved


@click.command(cls=RecipeCommand)
@click.argument("recipe", nargs=-1)
@plugin_option
@click.option("--dry-run", is_flag=True, help="Print the resolved configuration and where each value came from.")
@click.option("--resume", is_flag=True, help="Continue from the last checkpoint of the run directory.")
@click.option("--no-self-test", is_flag=True, help="Start without checking objective, masks, environment, schedules.")
@click.option("--output", metavar="DIR", help="The run directory (default: runs/NAME).")
def train(
    recipe: tuple[str, ...],
    plugins: tuple[str, ...],
    dry_run: bool,
    resume: bool,
    no_self_test: bool,
    output: str | None,
) -> None:
    """Train a student from one or more RECIPEs.

    A recipe is a TOML file or the name of one that a plugin ships (see `agentdistill plugins list --kind recipe`).
    Several are merged left to right; --SECTION.KEY VALUE comes last, for example --optim.lr 1e-5.
    """
    registry = load_registry(plugins)
    more = {
        "run.directory": output,
        "run.resume": True if resume else None,
        "run.self_test": False if no_self_test else None,
    }
    resolved = resolve(recipe, plugins, registry, more)
    resolved.require("env", "student")
    from agentdistill.training.methods import Methods

    Methods(resolved.config, registry).check()
    if dry_run:
        show_resolved(resolved)
        return
    check_resumable(resolved, registry)
    from agentdistill.cli.progress import Progress
    from agentdistill.cli.quiet import quiet_loading
    from agentdistill.training.run import Run

    quiet_loading()
    with Progress() as progress:
        progress.done(Run(resolved, registry, progress).train())
