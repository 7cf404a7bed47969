"""Environments that nobody registered with us: `type = "module:Id-v0"` is any text environment Gymnasium knows."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentdistill.plugins.registration import Registration
from agentdistill.plugins.targets import resolve

if TYPE_CHECKING:
    from agentdistill.plugins.options import PluginConfig

_ID = re.compile(r"([A-Za-z_][\w.]*:)?([\w.-]+/)?[\w.-]+-v\d+")
_ADAPTER = "agentdistill.envs.adapter"


def is_gymnasium_id(name: str) -> bool:
    """Whether a name has the form of a Gymnasium id: "Name-v0", "namespace/Name-v0", or either behind "module:"."""
    return _ID.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class GymnasiumRegistration(Registration):
    """A Gymnasium id used as the type of an environment; its target is our adapter, bound to the id."""

    def load(self) -> Any:
        """The adapter's source for this id.

        Raises:
            PluginError: the adapter cannot be imported.
        """
        return functools.partial(resolve(self.target, str(self), self.distribution), self.name)

    def config_class(self) -> type[PluginConfig]:
        """The adapter's options."""
        found: type[PluginConfig] = resolve(self.config or "", f"the options of {self}")
        return found


def registration_of(name: str) -> GymnasiumRegistration:
    """The registration that stands for a Gymnasium id."""
    return GymnasiumRegistration(
        "environment", name, f"{_ADAPTER}:GymnasiumSource", f"{_ADAPTER}:GymnasiumConfig", "an id of Gymnasium"
    )
