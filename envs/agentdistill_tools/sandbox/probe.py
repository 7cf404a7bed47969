"""Which sandbox works on this machine: tried out, not assumed."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from agentdistill.errors import ConfigError, EnvironmentFailure
from agentdistill_tools.sandbox import seccomp
from agentdistill_tools.sandbox.jail import Jail, candidates
from agentdistill_tools.sandbox.limits import PythonConfig
from agentdistill_tools.sandbox.run import Ending, run_python


class NoSandbox(ConfigError):
    """Model-written code cannot be run safely on this machine."""


@cache
def find_jail() -> Jail:
    """The first way to build a sandbox that holds what it promises here. Found once for each process.

    Raises:
        NoSandbox: there is none; it says why, and what to do.
    """
    problems: list[str] = []
    if seccomp.program() is None:
        problems.append("there is no system call filter for this processor")
    else:
        for jail in candidates():
            problem = try_out(jail)
            if not problem:
                return jail
            problems.append(f"{jail.name}: {problem}")
        if not problems:
            problems.append("the program `bwrap` is not installed")
    raise NoSandbox(
        "The `python` tool will not run model-written code without a sandbox, and bubblewrap gives none here "
        f"({'; '.join(problems)}).",
        do="Install it with `apt-get install bubblewrap`, use a machine or container that allows namespaces, leave the "
        "tool out of `env.tools`, or, at your own risk, set `env.python.unsafe = true`.",
    )


def try_out(jail: Jail) -> str:
    """What is wrong with a sandbox; "" when nothing is."""
    code = Path(__file__).with_name("escape_probe.py").read_text(encoding="utf-8")
    try:
        outcome = run_python(code, PythonConfig(seconds=20.0, processes=4), jail)
    except EnvironmentFailure as failure:
        return failure.why.rstrip(".")
    if outcome.ending is not Ending.DONE or outcome.output:
        return ", ".join(outcome.output.strip().splitlines()[-3:]) or f"it ended with {outcome.ending}"
    return ""
