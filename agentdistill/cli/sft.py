"""`agentdistill sft`."""

from __future__ import annotations

import click

from agentdistill.cli.recipe import RecipeCommand, check_resumable, load_registry, plugin_option, resolve, show_resolved


@click.command(cls=RecipeCommand)
@click.argument("recipe", nargs=-1)
@plugin_option
@click.option("--data", metavar="DIR", help="A trajectory store that `agentdistill collect` wrote.")
@click.option("--dry-run", is_flag=True, help="Print the resolved configuration and where each value came from.")
@click.option("--resume", is_flag=True, help="Continue from the last checkpoint of the run directory.")
@click.option("--output", metavar="DIR", help="The run directory (default: runs/NAME).")
def sft(
    recipe: tuple[str, ...],
    plugins: tuple[str, ...],
    data: str | None,
    dry_run: bool,
    resume: bool,
    output: str | None,
) -> None:
    """Train a student on collected episodes: a cold start before distillation.

    RECIPEs and --SECTION.KEY VALUE are as for `train`; teacher, loss and curriculum are not used.
    """
    registry = load_registry(plugins)
    more = {"run.directory": output, "run.resume": True if resume else None, "demonstrations.source": data}
    resolved = resolve(recipe, plugins, registry, more)
    resolved.require("env", "student")
    if dry_run:
        show_resolved(resolved)
        return
    check_resumable(resolved, registry)
    from agentdistill.cli.progress import Progress
    from agentdistill.cli.quiet import quiet_loading
    from agentdistill.training.sft import imitate

    quiet_loading()
    with Progress() as progress:
        progress.done(imitate(resolved, registry, progress))
