"""Finds plugins and loads them one by one, so that a broken one is a row with its error and nothing else.

pluggy's own `load_setuptools_entrypoints` stops at the first plugin that fails; it is not used.
"""

from __future__ import annotations

import importlib.metadata
import os
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pluggy

from agentdistill.errors import AgentDistillError, PluginError
from agentdistill.plugins import hookspecs
from agentdistill.plugins.kinds import KINDS
from agentdistill.plugins.registration import Registrar, Registration
from agentdistill.plugins.suggest import hint, listing
from agentdistill.plugins.targets import import_user_module, missing_module

GROUP = "agentdistill"
"""Entry-point group."""

PREFIX = "agentdistill_"
"""Prefix of every hook."""

THIRD_PARTY_VARIABLE = "AGENTDISTILL_THIRD_PARTY_PLUGINS"
"""Environment variable: 0 leaves the entry points of other distributions unloaded."""

HOOKS = tuple(sorted(name for name in vars(hookspecs) if name.startswith(PREFIX)))
"""Names of all hooks."""


@dataclass(slots=True, eq=False)
class Plugin:
    """One plugin: an entry point, or a module named with `-p`.

    Attributes:
        name: entry-point name, or module name.
        module: what is imported.
        distribution: distribution that declares the entry point, "" for a module named with `-p`.
        version: version of that distribution.
        status: "ok", "broken" (see `error`), or "off" (see `error` for why).
        error: one line: why it is broken or off.
        traceback: full traceback of what broke it.
        hooks: names of the hooks it implements.
        provided: (kind, name) of everything it registered, or had registered when it broke.
    """

    name: str
    module: str
    distribution: str = ""
    version: str = ""
    status: Literal["ok", "broken", "off"] = "ok"
    error: str = ""
    traceback: str = ""
    hooks: tuple[str, ...] = ()
    provided: list[tuple[str, str]] = field(default_factory=list)

    def __str__(self) -> str:
        origin = f"distribution {self.distribution} {self.version}" if self.distribution else "given with -p"
        return f"the plugin `{self.name}` ({origin})"

    @property
    def first_party(self) -> bool:
        """It ships with agentdistill itself."""
        return self.distribution == GROUP


def third_party_enabled(setting: bool | None) -> bool:
    """The setting, or what the environment variable says when it is None."""
    if setting is not None:
        return setting
    value = os.environ.get(THIRD_PARTY_VARIABLE, "1").strip().lower()
    if value in {"1", "true", "yes", "on", ""}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise PluginError(f"{THIRD_PARTY_VARIABLE}={value!r} is neither on nor off.", do="Set it to 0 or 1.")


def discover() -> Iterator[tuple[Plugin, importlib.metadata.EntryPoint]]:
    """Yields the installed plugins: our own first, then by distribution and name. Imports nothing."""
    found = []
    for entry in importlib.metadata.entry_points(group=GROUP):
        name, version = (entry.dist.name, entry.dist.version) if entry.dist else ("", "")
        found.append((Plugin(entry.name, entry.value, name, version), entry))
    yield from sorted(found, key=lambda item: (not item[0].first_party, item[0].distribution, item[0].name))


class Loader:
    """Loads plugins into a pluggy manager.

    Attributes:
        manager: the manager; only healthy plugins are registered in it.
        plugins: every plugin seen, healthy or not, in loading order.
        registrations: what the healthy ones registered, in loading order.
    """

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager(GROUP)
        self.manager.add_hookspecs(hookspecs)
        self.plugins: list[Plugin] = []
        self.registrations: list[Registration] = []

    def load_installed(self, disabled: Sequence[str] = (), third_party: bool | None = None) -> None:
        """Loads every entry point, except disabled ones and, when asked, those of other distributions.

        Args:
            disabled: entry-point, module or distribution names.
            third_party: False turns other distributions' plugins off; None asks the environment variable.

        Raises:
            PluginError: a disabled name matches nothing (a typo would leave a plugin on).
        """
        others = third_party_enabled(third_party)
        used: set[str] = set()
        known: list[str] = []
        for plugin, entry in discover():
            names = {plugin.name, plugin.module.partition(":")[0], plugin.distribution}
            known.append(plugin.name)
            used |= names & set(disabled)
            if names & set(disabled):
                self._off(plugin, f"turned off with -p no:{sorted(names & set(disabled))[0]}")
            elif not others and not plugin.first_party:
                self._off(plugin, f"third-party plugins are off ({THIRD_PARTY_VARIABLE}=0)")
            else:
                self._load(plugin, entry)
        for name in disabled:
            if name not in used:
                raise PluginError(
                    f"-p no:{name} turns off nothing.",
                    f"No plugin, module or distribution has that name.{hint(name, known)}",
                    f"Plugins: {listing(known)}.",
                )

    def load_module(self, module: str) -> Plugin:
        """Loads one module named by the user; a module that is loaded already is not loaded twice."""
        for plugin in self.plugins:
            if plugin.status != "off" and plugin.module.partition(":")[0] == module:
                return plugin
        plugin = Plugin(module, module)
        self._load(plugin, None)
        return plugin

    def _off(self, plugin: Plugin, reason: str) -> None:
        plugin.status, plugin.error = "off", reason
        self.plugins.append(plugin)

    def _load(self, plugin: Plugin, entry: importlib.metadata.EntryPoint | None) -> None:
        self.plugins.append(plugin)
        found: dict[tuple[str, str], Registration] = {}
        instance: Any = None
        try:
            instance = entry.load() if entry else import_user_module(plugin.module)
            plugin.hooks = self._register(plugin, instance)
            self._collect(plugin, instance, found)
        # A plugin may call sys.exit() at import; that must not end the host either.
        except (Exception, SystemExit) as error:
            plugin.status, plugin.error = "broken", _explain(error, plugin)
            plugin.traceback = "".join(traceback.format_exception(error))
            if instance is not None and self.manager.is_registered(instance):
                self.manager.unregister(instance)
        else:
            self.registrations.extend(found.values())
        plugin.provided = list(found)

    def _register(self, plugin: Plugin, instance: Any) -> tuple[str, ...]:
        """Registers with pluggy, which checks the arguments of each hook; then checks the hooks' names."""
        if self.manager.is_registered(instance):
            raise PluginError(f"`{plugin.module}` is loaded already, under another entry point.")
        self.manager.register(instance, f"{plugin.distribution or '-p'}:{plugin.name}")
        implemented = []
        for caller in self.manager.get_hookcallers(instance) or ():
            if not caller.has_spec():
                raise PluginError(f"It implements the unknown hook `{caller.name}`.{hint(caller.name, HOOKS)}")
            implemented.append(caller.name)
        for name, value in sorted(vars(instance).items() if hasattr(instance, "__dict__") else ()):
            if name.startswith(PREFIX) and callable(value) and name not in implemented:
                known = "" if name in HOOKS else f" and is no hook.{hint(name, HOOKS)}"
                raise PluginError(f"`{name}` is not marked with @agentdistill.hookimpl{known or '.'}")
        if not implemented:
            raise PluginError("It implements no hook: mark its hook functions with @agentdistill.hookimpl.")
        return tuple(sorted(implemented))

    def _collect(self, plugin: Plugin, instance: Any, found: dict[tuple[str, str], Registration]) -> None:
        """Calls the plugin's own registration hooks only, so that every error has one owner."""
        for kind in KINDS.values():
            for implementation in getattr(self.manager.hook, kind.hook).get_hookimpls():
                if implementation.plugin is not instance:
                    continue
                if implementation.wrapper or implementation.hookwrapper:
                    raise PluginError(f"`{kind.hook}` cannot be a wrapper.")
                registrar = Registrar(kind.name, plugin, found)
                implementation.function(*[registrar for _ in implementation.argnames])


def _explain(error: BaseException, plugin: Plugin) -> str:
    """One line that says what broke a plugin."""
    if isinstance(error, ModuleNotFoundError):
        own = plugin.module.partition(":")[0]
        if error.name and (own + ".").startswith(error.name + "."):
            return f"There is no module `{error.name}`."
        return f"It imports `{error.name}`, which is not installed. {missing_module(error, plugin.distribution)}"
    if isinstance(error, AgentDistillError):
        return str(error)
    if isinstance(error, pluggy.PluginValidationError):
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return "A hook has the wrong arguments: " + "; ".join(lines[1:] or lines)
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
