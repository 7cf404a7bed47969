"""What commands that read recipes share: `-p`, dotted overrides, and resolving the configuration."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from agentdistill.config.resolved import ResolvedConfig
    from agentdistill.plugins.registry import PluginRegistry

Function = TypeVar("Function", bound=Callable[..., Any])

OVERRIDES = "agentdistill.overrides"
"""Key of the dotted overrides in `click.Context.meta`."""

_DOTTED = re.compile(r"--([A-Za-z][\w-]*(?:\.[\w-]+)+)(?:=(.*))?", re.S)
_SECTION = re.compile(r"--([a-z_-]+)")


class RecipeCommand(click.Command):
    """A command that takes `--section.key VALUE` besides its own options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Takes the dotted overrides out and leaves the rest to click."""
        overrides, rest = split_overrides(args)
        ctx.meta[OVERRIDES] = overrides
        try:
            return super().parse_args(ctx, rest)
        except click.NoSuchOption as error:
            match = _SECTION.fullmatch(error.option_name)
            if match is None:
                raise
            message = f"{error.format_message()} Options of a recipe are dotted: --{match[1]}.KEY VALUE."
            raise click.UsageError(message, ctx) from error

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """The usage line says that overrides are taken."""
        return [*super().collect_usage_pieces(ctx), "[--SECTION.KEY VALUE]..."]


def split_overrides(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Separates `--section.key VALUE` and `--section.key=VALUE` from other arguments.

    Raises:
        click.UsageError: a key has no value.
    """
    overrides: dict[str, str] = {}
    rest: list[str] = []
    position = 0
    while position < len(arguments):
        argument = arguments[position]
        position += 1
        if argument == "--":
            rest += arguments[position - 1 :]
            break
        match = _DOTTED.fullmatch(argument)
        if match is None:
            rest.append(argument)
            continue
        key, value = match[1], match[2]
        if value is None:
            if position == len(arguments) or arguments[position].startswith("--"):
                raise click.UsageError(f"--{key} needs a value, for example --{key} true.")
            value = arguments[position]
            position += 1
        overrides[key.replace("-", "_")] = value
    return overrides, rest


def plugin_option(function: Function) -> Function:
    """Adds `-p`."""
    return click.option(
        "-p",
        "plugins",
        multiple=True,
        metavar="MODULE",
        help="Load a module (or .py file) as a plugin; -p no:NAME turns an installed plugin off. Repeatable.",
    )(function)


def split_plugins(values: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separates the modules of `-p module` from the names of `-p no:name`."""
    modules = [value for value in values if not value.startswith("no:")]
    return modules, [value.removeprefix("no:") for value in values if value.startswith("no:")]


def load_registry(values: Sequence[str]) -> PluginRegistry:
    """Loads plugins as `-p` says.

    Raises:
        PluginError: a module that was asked for is broken, or a name that is turned off is unknown.
    """
    from agentdistill.plugins.registry import PluginRegistry

    modules, disabled = split_plugins(values)
    registry = PluginRegistry.load(modules, disabled)
    registry.require_healthy(modules)
    return registry


def resolve(
    recipes: Sequence[str], plugins: Sequence[str], registry: PluginRegistry, more: Mapping[str, Any] | None = None
) -> ResolvedConfig:
    """Resolves the configuration of the command that runs.

    Args:
        recipes: names or paths.
        plugins: values of `-p`.
        registry: from `load_registry`.
        more: dotted overrides that the command's own options stand for; None values are left out.

    Raises:
        ConfigError: the configuration is wrong.
        PluginError: a plugin is unknown or broken.
    """
    from agentdistill.config.load import load_config

    context = click.get_current_context()
    overrides = dict(context.meta.get(OVERRIDES, {}))
    overrides.update({key: value for key, value in (more or {}).items() if value is not None})
    return load_config(recipes, overrides, registry=registry, plugins=split_plugins(plugins)[0])


def show_resolved(resolved: ResolvedConfig) -> None:
    """Prints a configuration with the origin of every value; the output is a recipe itself."""
    from agentdistill import __version__

    click.echo(f"# agentdistill {__version__}, configuration {resolved.hash}")
    click.echo(resolved.to_toml(provenance=True), nl=False)


def check_resumable(resolved: ResolvedConfig, registry: PluginRegistry) -> None:
    """Compares the configuration with the one that the run directory was made with, before anything is loaded.

    Raises:
        CheckpointError: they differ; every key that does is named.
    """
    from pathlib import Path

    from agentdistill.config.load import load_config
    from agentdistill.config.toml import format_value
    from agentdistill.errors import CheckpointError

    section = resolved.config.run
    written = Path(section.directory or f"runs/{section.name}") / "config.toml"
    if not section.resume or not written.is_file():
        return
    before = load_config([str(written)], registry=registry)
    old, new = dict(before.leaves()), dict(resolved.leaves())

    def show(value: Any) -> str:
        return "not set" if value is None else format_value(value)

    changed = [
        f"{key} was {show(old.get(key))}, is {show(new.get(key))}" for key in resolved.differences(before.values)
    ]
    if changed:
        raise CheckpointError(
            f"The run in {written.parent} was started with another configuration.",
            "; ".join(changed) + ".",
            "Resume it with the options of its start, or start another run with --output.",
        )
