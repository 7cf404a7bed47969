"""The root command: finds subcommands by name and imports them when they run."""

from __future__ import annotations

import importlib
from typing import Any

import click

from agentdistill import __version__
from agentdistill.errors import PluginError

COMMANDS: dict[str, tuple[str, str]] = {
    "train": ("agentdistill.cli.train:train", "Train a student from a recipe."),
    "eval": ("agentdistill.cli.eval:evaluate", "Evaluate a student over a panel."),
    "collect": ("agentdistill.cli.collect:collect", "Write expert or model episodes to disk."),
    "select": ("agentdistill.cli.select:select", "Choose the collected episodes that are worth imitating."),
    "sft": ("agentdistill.cli.sft:sft", "Train a student on collected episodes."),
    "export": ("agentdistill.cli.export:export", "Write a student as a plain model directory with a card."),
    "play": ("agentdistill.cli.play:play", "Play an environment in the terminal."),
    "envs": ("agentdistill.cli.envs:envs", "List and check environments."),
    "cache": ("agentdistill.cli.cache:cache", "Look after kept teacher scores."),
    "plugins": ("agentdistill.cli.plugins:plugins", "List, show and check plugins."),
    "doctor": ("agentdistill.cli.doctor:doctor", "Check that a recipe can run here."),
}
"""Target and help line by command."""


def _import(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


class LazyGroup(click.Group):
    """A group whose help needs no subcommand's module. Commands of plugins come after its own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands."""
        return [*COMMANDS, *(name for name, _ in self._plugin_commands())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports one command; unknown names are looked for among plugins."""
        if cmd_name in COMMANDS:
            command: click.Command = _import(COMMANDS[cmd_name][0])
            return command
        from agentdistill.plugins.registry import PluginRegistry

        registry = PluginRegistry.load()
        if cmd_name not in registry.names("command"):
            return None
        registration = registry.get("command", cmd_name)
        loaded = registration.load()
        if not isinstance(loaded, click.Command):
            raise PluginError(f"{registration} cannot run.", f"`{registration.target}` is not a click command.")
        return loaded

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command of the arguments, with a suggestion when there is none."""
        from agentdistill.plugins.suggest import hint

        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            ctx.fail(f"No such command '{args[0]}'.{hint(args[0], self.list_commands(ctx))}")
            raise AssertionError from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the commands by their help lines, importing none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in COMMANDS.items()])
        extra = self._plugin_commands()
        if extra:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(extra)

    def _plugin_commands(self) -> list[tuple[str, str]]:
        from agentdistill.plugins.registry import PluginRegistry

        found = {entry.name: entry.summary for entry in PluginRegistry.load().all("command")}
        return sorted((name, summary) for name, summary in found.items() if name not in COMMANDS)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="agentdistill")
def cli() -> None:
    """Small agents learn from big ones by acting."""
