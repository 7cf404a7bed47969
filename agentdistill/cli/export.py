"""`agentdistill export`."""

from __future__ import annotations

from typing import Any

import click

from agentdistill.cli.recipe import OVERRIDES, RecipeCommand, load_registry, plugin_option


@click.command(cls=RecipeCommand)
@click.argument("run", required=False)
@plugin_option
@click.option("--student", metavar="DIR", help="Export this directory in the place of a run's student.")
@click.option("--output", metavar="DIR", required=True, help="The directory to make.")
@click.option(
    "--check",
    metavar="ENGINE",
    default="auto",
    show_default=True,
    help="Another engine to load it in: a name, auto (every one that is available here), or none. "
    "Its options are --engine.KEY VALUE.",
)
@click.option("--license", metavar="ID", default="", help="Licence of the card (default: what the base model's says).")
def export(
    run: str | None, plugins: tuple[str, ...], student: str | None, output: str, check: str, license: str
) -> None:
    """Write the student of RUN as a plain Hugging Face directory with a model card.

    A LoRA adapter is merged. What was written is loaded again, and must answer with the tokens and log-probabilities
    of the trained student, before the directory appears.
    """
    from agentdistill.cli.quiet import quiet_loading
    from agentdistill.export import export_run, export_student
    from agentdistill.export.source import require_one

    require_one(run, student)
    registry = load_registry(plugins)
    quiet_loading()
    options = {"check": check, "license": license, "engine": _engine_options(click.get_current_context())}
    done = (
        export_run(run, output, registry=registry, **options)
        if run is not None
        else export_student(str(student), output, registry=registry, **options)
    )
    for line in done.checks:
        click.echo(f"check    {line}")
    click.echo(f"saved    {done.directory}" + (f" ({done.license})" if done.license else " (no licence is stated)"))


def _engine_options(context: click.Context) -> dict[str, Any]:
    """`--engine.options.enforce_eager true` as nested options.

    Raises:
        click.UsageError: an override is of another section.
    """
    from agentdistill.config.toml import parse_scalar

    found: dict[str, Any] = {}
    for key, value in context.meta[OVERRIDES].items():
        section, *path, last = key.split(".")
        if section != "engine":
            raise click.UsageError(f"--{key} means nothing here: only --engine.KEY does.", context)
        table = found
        for part in path:
            table = table.setdefault(part, {})
        table[last] = parse_scalar(value)
    return found
