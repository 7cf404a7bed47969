"""Who plays, as commands are told: a name, or the address of an endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

ENGINE = "endpoint"
"""The engine that plays through an address, unless the recipe or --engine.type names another one."""


class Agent(click.ParamType):
    """One of some names, or an address that begins with http:// or https://.

    Args:
        names: the names.
    """

    name = "agent"

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """What stands in the usage line."""
        return f"[{'|'.join(self.names)}|URL]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Takes a name or an address."""
        if value in self.names or is_address(str(value)):
            return str(value)
        names = ", ".join(self.names)
        self.fail(f"{value!r} is none of {names}, and no address that begins with http:// or https://.", param, ctx)


def is_address(agent: str) -> bool:
    """Whether an agent is an endpoint's address."""
    return agent.startswith(("http://", "https://"))


def engine_overrides(agent: str, overrides: dict[str, Any]) -> dict[str, Any]:
    """What the address of an agent means for the configuration; nothing for other agents.

    Args:
        agent: who plays.
        overrides: what was said besides.
    """
    if not is_address(agent):
        return {}
    return {"engine.type": overrides.get("engine.type", ENGINE), "engine.url": agent}
