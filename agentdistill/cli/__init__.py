"""The command line. Each command is its own module, imported when it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from agentdistill.errors import AgentDistillError


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits.

    An `AgentDistillError` is one paragraph on stderr and exit code 2; every other exception is a bug and keeps
    its traceback.

    Args:
        arguments: the arguments; None takes those of the process.
    """
    from agentdistill.cli.group import cli

    try:
        code = cli.main(args=None if arguments is None else list(arguments), standalone_mode=False)
        sys.stdout.flush()
    except AgentDistillError as error:
        _show(str(error))
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader went away (`| head`): nothing to say, and nothing may be flushed into the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _show(message: str) -> None:
    """Prints an error as one paragraph: wrapped on a terminal, one line elsewhere."""
    text = f"error: {message}"
    if sys.stderr.isatty():
        import shutil
        import textwrap

        text = textwrap.fill(text, min(shutil.get_terminal_size().columns, 110), break_long_words=False)
        text = text.replace("error:", click.style("error:", fg="red", bold=True), 1)
    click.echo(text, err=True)
