"""The registry: names to things, typed by kind, with errors that name who is to blame."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from agentdistill.errors import ConfigError, PluginError
from agentdistill.plugins.gymnasium_ids import is_gymnasium_id, registration_of
from agentdistill.plugins.kinds import KINDS
from agentdistill.plugins.loader import Loader, Plugin
from agentdistill.plugins.registration import FILE_KINDS, Registration
from agentdistill.plugins.suggest import hint, listing

if TYPE_CHECKING:
    from agentdistill.plugins.options import PluginConfig


class Section(Protocol):
    """A configuration section whose `type` chooses a plugin (see `agentdistill.config.schema.PluginSection`)."""

    @property
    def type(self) -> str:
        """The plugin."""
        ...

    def options(self) -> dict[str, Any]:
        """The keys that only the plugin knows."""
        ...

    def shared(self) -> dict[str, Any]:
        """The core's own keys of this section; a plugin sees those that its config class declares too."""
        ...


class PluginRegistry:
    """Everything the loaded plugins registered.

    Make one with `PluginRegistry.load()`. Names are resolved at set-up; nothing here belongs in an inner loop.

    Attributes:
        plugins: every plugin seen, healthy or not, in loading order.
        hooks: pluggy's hook relay, e.g. `registry.hooks.agentdistill_step_end(event=...)`.
    """

    def __init__(self, loader: Loader | None = None) -> None:
        self._loader = loader or Loader()
        self.hooks = self._loader.manager.hook

    @classmethod
    def load(
        cls, modules: Sequence[str] = (), disabled: Sequence[str] = (), third_party: bool | None = None
    ) -> PluginRegistry:
        """Loads the installed plugins and the modules named by the user.

        Args:
            modules: modules (or `.py` files) to load as plugins, as with `-p module`. They load even when
                third-party plugins are off: somebody named them.
            disabled: plugins to leave out, as with `-p no:name`: entry-point, module or distribution names.
            third_party: False leaves out other distributions' entry points; None asks the environment
                variable `AGENTDISTILL_THIRD_PARTY_PLUGINS`.

        Returns:
            The registry. Broken plugins are in `plugins` with their error, and cost nothing else.

        Raises:
            PluginError: a disabled name matches nothing.
        """
        loader = Loader()
        loader.load_installed(disabled, third_party)
        registry = cls(loader)
        registry.extend(modules)
        return registry

    @property
    def plugins(self) -> list[Plugin]:
        """Every plugin seen, healthy or not."""
        return self._loader.plugins

    @property
    def broken(self) -> list[Plugin]:
        """The plugins that could not be loaded."""
        return [plugin for plugin in self.plugins if plugin.status == "broken"]

    def extend(self, modules: Sequence[str]) -> None:
        """Loads more modules as plugins; those loaded already are left alone."""
        for module in modules:
            self._loader.load_module(module)

    def require_healthy(self, modules: Sequence[str]) -> None:
        """Raises when a module that the user named is broken.

        Raises:
            PluginError: with the plugin's own error.
        """
        for plugin in self.broken:
            if plugin.module in modules:
                raise PluginError(f"Cannot load the plugin `{plugin.name}`.", plugin.error)

    def all(self, kind: str | None = None) -> list[Registration]:
        """Every registration of one kind, or of all, in loading order."""
        if kind is not None:
            _check_kind(kind)
        return [entry for entry in self._loader.registrations if kind in (None, entry.kind)]

    def names(self, kind: str) -> list[str]:
        """Names of one kind, sorted, each once."""
        return sorted({entry.name for entry in self.all(kind)})

    def clashes(self) -> list[tuple[Registration, ...]]:
        """Names that several plugins registered; using one is an error."""
        groups: dict[tuple[str, str], list[Registration]] = {}
        for entry in self.all():
            groups.setdefault((entry.kind, entry.name), []).append(entry)
        return [tuple(group) for group in groups.values() if len(group) > 1]

    def get(self, kind: str, name: str) -> Registration:
        """Finds a thing by name, or by target ("package.module:Class") without registration.

        An environment may also be an id of Gymnasium, "Name-v0" or "module:Name-v0".

        Raises:
            PluginError: the name is unknown, ambiguous, or its plugin is broken or off.
        """
        _check_kind(kind)
        if kind == "environment" and is_gymnasium_id(name) and name not in self.names(kind):
            return registration_of(name)
        if ":" in name and kind not in FILE_KINDS:
            return Registration(kind, name, name)
        found = [entry for entry in self.all(kind) if entry.name == name]
        if len(found) == 1:
            return found[0]
        if found:
            owners = " and ".join(str(entry.plugin) for entry in found)
            disable = " or ".join(f"-p no:{entry.plugin.name}" for entry in found if entry.plugin)
            raise PluginError(
                f"The {kind} `{name}` is ambiguous.",
                f"It is registered by {owners}.",
                f'Turn one off with {disable}, or write its target, type = "{found[0].target}".',
            )
        raise self._unknown(kind, name)

    def _unknown(self, kind: str, name: str) -> PluginError:
        for plugin in self.plugins:
            if (kind, name) in plugin.provided:
                return PluginError(f"The {kind} `{name}` cannot be used.", f"It belongs to {plugin}: {plugin.error}")
        known = self.names(kind)
        why = f"Known: {listing(known)}.{hint(name, known)}"
        absent = [f"{plugin} is {plugin.status}: {plugin.error}" for plugin in self.plugins if plugin.status != "ok"]
        if not self.plugins:
            absent = ["no plugin is installed, not even our own: install agentdistill with pip"]
        if absent:
            why += f" Perhaps it belongs to a plugin that is not loaded: {'; '.join(absent)}"
        do = "See `agentdistill plugins list`"
        if kind not in FILE_KINDS:
            do += f', load yours with -p MODULE, or give a target, "package.module:{kind.title().replace("-", "")}"'
        return PluginError(f"There is no {kind} named `{name}`.", why, do + ".")

    def path(self, kind: str, name: str) -> Path:
        """Where a named model or recipe lies on disk.

        Raises:
            PluginError: unknown, or not there.
        """
        return self.get(kind, name).path()

    def options(self, kind: str, section: Mapping[str, Any] | Section, path: str = "") -> PluginConfig:
        """Validates a section with its plugin's own config class.

        Args:
            kind: name of the kind.
            section: the section, with its `type`.
            path: the user's path to it, e.g. "teacher"; errors are reported there.

        Raises:
            ConfigError: an option is unknown or wrong.
            PluginError: the plugin cannot be found.
        """
        from agentdistill.config.problems import Problem, find_problems, raise_problems

        name, options, shared = _parts(section, path or kind)
        model = self.get(kind, name).config_class()
        for key, value in shared.items():
            if key in model.model_fields and value is not None:
                options.setdefault(key, value)
        validated, problems = find_problems(model, options, path or kind.replace("-", "_"))
        if validated is None:
            extra = "" if model.model_fields else f" (`{name}` takes no options)"
            raise_problems([Problem(p.path, p.message + extra) for p in problems])
        assert validated is not None
        return validated

    def build(self, kind: str, section: Mapping[str, Any] | Section, path: str = "", **kwargs: Any) -> Any:
        """Calls a plugin's target: `target(config, **kwargs)`, with those of the keywords that it names.

        Args:
            kind: name of the kind.
            section: the section, with its `type`.
            path: the user's path to it, for errors.
            **kwargs: what the kind's contract passes besides the config.

        Raises:
            ConfigError: an option is unknown or wrong.
            PluginError: the plugin cannot be found or imported.
        """
        config = self.options(kind, section, path)
        registration = self.get(kind, _parts(section, path or kind)[0])
        target = registration.load()
        try:
            return target(config, **_accepted(target, kwargs))
        except Exception as error:
            error.add_note(f"while making {registration} from `{registration.target}`")
            raise

    def function(self, kind: str, section: Mapping[str, Any] | Section, path: str = "") -> Callable[..., Any]:
        """A plugin's function with its config bound: calling the result with `stats` calls `f(stats, config)`.

        The result has `needs`, what the function requires, and `takes_progress`: then it wants `progress=...` too.

        Raises:
            ConfigError: an option is unknown or wrong.
            PluginError: the plugin cannot be found, imported or called.
        """
        config = self.options(kind, section, path)
        registration = self.get(kind, _parts(section, path or kind)[0])
        target = registration.load()
        if not callable(target):
            raise PluginError(
                f"{registration} cannot be called.".capitalize(), f"`{registration.target}` is no function."
            )

        @functools.wraps(target)
        def bound(*args: Any, **kwargs: Any) -> Any:
            return target(*args, config, **kwargs)

        needs: Any = getattr(target, "needs", frozenset())
        bound.needs = needs(config) if callable(needs) else needs  # type: ignore[attr-defined]
        bound.takes_progress = "progress" in _accepted(target, {"progress": None})  # type: ignore[attr-defined]
        return bound

    def emit(self, event: Any) -> None:
        """Calls the lifecycle hook of an event (see `agentdistill.training.events`) on every plugin.

        An exception of a plugin goes on to the caller, with a note that says which hook raised it.
        """
        try:
            getattr(self.hooks, event.hook)(event=event)
        except Exception as error:
            error.add_note(f"while plugins handled the hook {event.hook}")
            raise

    def versions(self) -> dict[str, str]:
        """Version by distribution of every healthy plugin, for provenance."""
        return {p.distribution: p.version for p in self.plugins if p.status == "ok" and p.distribution}


def _accepted(target: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The keywords that a target takes: offering more later breaks no plugin."""
    import inspect

    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return kwargs
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return kwargs
    return {name: value for name, value in kwargs.items() if name in parameters}


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise PluginError(f"There is no kind of plugin named `{kind}`.", f"Kinds: {listing(KINDS)}.{hint(kind, KINDS)}")


def _parts(section: Mapping[str, Any] | Section, path: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Type, own options, and shared core keys of a section."""
    if not isinstance(section, Mapping):
        return section.type, dict(section.options()), dict(section.shared())
    if not isinstance(section.get("type"), str):
        raise ConfigError(f"The section [{path}] has no `type`.", "Its type names the plugin.", 'Add type = "...".')
    return section["type"], {key: value for key, value in section.items() if key != "type"}, {}
