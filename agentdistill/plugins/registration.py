"""One registered thing, and the callback that plugins register with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentdistill.errors import PluginError
from agentdistill.plugins.targets import OBJECT, RESOURCE, resolve, resolve_path

if TYPE_CHECKING:
    from agentdistill.plugins.loader import Plugin
    from agentdistill.plugins.options import PluginConfig

FILE_KINDS = frozenset({"model", "recipe"})
"""Kinds whose target is a path inside a package instead of an object."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*(/[A-Za-z0-9_.\-]+)*")


@dataclass(frozen=True, slots=True)
class Registration:
    """One thing that a plugin registered.

    Attributes:
        kind: name of its kind, e.g. "step-weight".
        name: what users write as `type`.
        target: "package.module:attribute", or "package:relative/path" for models and recipes.
        config: "package.module:Class" of its options, or None when it takes none.
        summary: one line.
        plugin: the plugin that registered it; None for a target written directly as `type`.
    """

    kind: str
    name: str
    target: str
    config: str | None = None
    summary: str = ""
    plugin: Plugin | None = None

    def __str__(self) -> str:
        return f"the {self.kind} `{self.name}`" + (f" of {self.plugin}" if self.plugin else "")

    @property
    def distribution(self) -> str:
        """Distribution it came with, "" when it came with none."""
        return self.plugin.distribution if self.plugin else ""

    def load(self) -> Any:
        """Imports the target.

        Raises:
            PluginError: it cannot be imported.
        """
        return resolve(self.target, str(self), self.distribution)

    def path(self) -> Path:
        """Where the target of a model or recipe lies on disk.

        Raises:
            PluginError: it is not there.
        """
        return resolve_path(self.target, str(self))

    def config_class(self) -> type[PluginConfig]:
        """Imports the class of its options.

        Raises:
            PluginError: it cannot be imported or is not a `PluginConfig`.
        """
        from agentdistill.plugins.options import PluginConfig, config_of

        if self.plugin is None:
            return config_of(self.load())
        if self.config is None:
            return PluginConfig
        found = resolve(self.config, f"the options of {self}", self.distribution)
        if not (isinstance(found, type) and issubclass(found, PluginConfig)):
            raise PluginError(
                f"The options of {self} cannot be used.",
                f"`{self.config}` is not a subclass of `agentdistill.plugins.PluginConfig`.",
                "Derive it from PluginConfig.",
            )
        return found


@dataclass(slots=True)
class Registrar:
    """The `register` callback of one plugin and one kind. Errors belong to the plugin that made them."""

    kind: str
    plugin: Plugin
    found: dict[tuple[str, str], Registration]

    def __call__(self, name: str, target: str, *, config: str | None = None, summary: str = "") -> None:
        """Registers one thing; see `agentdistill.plugins.hookspecs.Register`."""
        what = f"register({name!r}, ...) of kind {self.kind}"
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise PluginError(f"{what}: the name must be letters, digits, `-`, `_`, `.`, with `/` between parts.")
        for label, value in (("target", target), ("config", config)):
            if value is None and label == "config":
                continue
            if not isinstance(value, str):
                written = f"{getattr(value, '__module__', '?')}:{getattr(value, '__qualname__', '?')}"
                raise PluginError(f'{what}: the {label} must be a string that is imported later, "{written}".')
            shape = RESOURCE if self.kind in FILE_KINDS and label == "target" else OBJECT
            if not shape.fullmatch(value):
                form = "package:relative/path" if shape is RESOURCE else "package.module:attribute"
                raise PluginError(f'{what}: the {label} {value!r} does not have the form "{form}".')
        if (self.kind, name) in self.found:
            raise PluginError(f"{what}: this plugin registered that name before.")
        self.found[self.kind, name] = Registration(self.kind, name, target, config, summary, self.plugin)
