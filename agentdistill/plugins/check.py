"""The conformance kit: what a plugin author runs before anybody else does."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from agentdistill.errors import AgentDistillError, PluginError
from agentdistill.plugins.loader import Plugin
from agentdistill.plugins.options import PluginConfig, field_descriptions
from agentdistill.plugins.registration import FILE_KINDS, Registration
from agentdistill.plugins.registry import PluginRegistry
from agentdistill.plugins.suggest import hint, listing

HEAVY = ("torch", "transformers", "gymnasium", "numpy", "pandas", "ray", "vllm")
"""Packages that take long to import; numpy alone is a tenth of a second."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        level: "error" breaks a contract, "warning" a courtesy.
        subject: what it is about.
        message: what is wrong, or what was checked.
    """

    level: Literal["ok", "warning", "error"]
    subject: str
    message: str


def check_plugins(registry: PluginRegistry, names: Sequence[str] = ()) -> list[Finding]:
    """Checks plugins.

    Args:
        registry: the loaded plugins; modules among `names` are added to it.
        names: plugins, modules or `.py` files; none checks everything that is loaded.

    Returns:
        At least one finding for each plugin and each thing it registered.

    Raises:
        PluginError: a name is neither a plugin nor a module.
    """
    chosen = [_find(registry, name) for name in names] or [p for p in registry.plugins if p.status != "off"]
    findings: list[Finding] = []
    for plugin in chosen:
        findings += _check_plugin(plugin)
        entries = [entry for entry in registry.all() if entry.plugin is plugin]
        for entry in entries:
            findings += check_registration(registry, entry)
    return findings


def _find(registry: PluginRegistry, name: str) -> Plugin:
    for plugin in registry.plugins:
        if name in (plugin.name, plugin.module):
            return plugin
    registry.extend([name])
    found = registry.plugins[-1]
    if found.status == "broken" and "no module" in found.error:
        known = [plugin.name for plugin in registry.plugins[:-1]]
        raise PluginError(
            f"There is no plugin or module `{name}`.{hint(name, known)}",
            f"{found.error}",
            f"Plugins: {listing(known)}.",
        )
    return found


def _check_plugin(plugin: Plugin) -> list[Finding]:
    subject = f"plugin {plugin.name}"
    if plugin.status != "ok":
        return [Finding("error", subject, f"it is {plugin.status}: {plugin.error}")]
    findings = [Finding("ok", subject, f"it loads and implements {listing(plugin.hooks)}")]
    heavy = _heavy_imports(plugin.module)
    if heavy:
        told = f"importing `{plugin.module}` imports {listing(heavy)}, which slows down every command"
        findings.append(Finding("warning", subject, f"{told}; leave that to its targets"))
    return findings


def _heavy_imports(module: str) -> list[str]:
    """What a fresh interpreter has loaded of the slow packages after importing a plugin's module."""
    script = (
        f"import sys; sys.path[:] = {sys.path!r}; from agentdistill.plugins.targets import import_user_module; "
        f"import_user_module({module.partition(':')[0]!r}); print(*[n for n in {HEAVY!r} if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    return done.stdout.split()


def check_registration(registry: PluginRegistry, entry: Registration) -> list[Finding]:
    """Checks one registered thing: its name, its text, its options, its target, and what it does with toy input."""
    from agentdistill.plugins.smoke import signature, smoke

    subject = f"{entry.kind} {entry.name}"
    findings = [Finding(level, subject, message) for level, message in _courtesies(registry, entry)]
    try:
        if entry.kind in FILE_KINDS:
            entry.path()
            config = None
        else:
            model = entry.config_class()
            findings += [Finding(level, subject, message) for level, message in _options(model)]
            _check_target(entry)
            required = [name for name, field in model.model_fields.items() if field.is_required()]
            if required:
                told = f"{signature(entry)}; its options {listing(required)} have no defaults, so it was not tried"
                return [*findings, Finding("ok", subject, told)]
            config = model()
        findings.append(Finding("ok", subject, smoke(registry, entry, config)))
    except AgentDistillError as error:
        findings.append(Finding("error", subject, str(error)))
    # The kit runs code of somebody else: whatever it raises is a finding.
    except Exception as error:
        findings.append(Finding("error", subject, f"raised {type(error).__name__}: {error}"))
    return findings


def _courtesies(registry: PluginRegistry, entry: Registration) -> Iterator[tuple[Literal["warning", "error"], str]]:
    rivals = [other for other in registry.all(entry.kind) if other.name == entry.name and other is not entry]
    for rival in rivals:
        yield "error", f"its name is also registered by {rival.plugin}"
    if not entry.summary.strip():
        yield "warning", "it has no summary"
    elif "\n" in entry.summary:
        yield "warning", "its summary has more than one line"


def _options(model: type[PluginConfig]) -> Iterator[tuple[Literal["warning", "error"], str]]:
    if model is PluginConfig:
        return
    if model.model_config.get("extra") != "forbid":
        yield "error", f'{model.__name__} accepts unknown keys; leave `extra` at PluginConfig\'s "forbid"'
    if not inspect.cleandoc(model.__doc__ or "") or model.__doc__ == PluginConfig.__doc__:
        yield "warning", f"{model.__name__} has no docstring"
    described = field_descriptions(model)
    missing = [name for name in model.model_fields if name not in described]
    if missing:
        yield "warning", f'{model.__name__} does not describe {listing(missing)} under "Attributes:"'


def _check_target(entry: Registration) -> None:
    """Checks that a target can be called with a config, without calling it."""
    target = entry.load()
    if entry.kind == "command":
        return
    if not callable(target):
        raise PluginError(f"`{entry.target}` cannot be called.")
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):
        return
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)]
    if not positional:
        raise PluginError(f"`{entry.target}` takes no positional argument for its config.")
