"""Recipes by name or path, merged with overrides, validated by the core and by each section's plugin."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from agentdistill.config.merge import merge, nest, origin_of, without_none
from agentdistill.config.problems import Problem, find_problems, raise_problems
from agentdistill.config.resolved import Origin, ResolvedConfig, leaves
from agentdistill.config.schema import LISTS, EnvSection, PluginSection, RunConfig, section_kinds
from agentdistill.config.sections import section_of
from agentdistill.config.toml import parse_scalar
from agentdistill.errors import ConfigError, PluginError
from agentdistill.plugins.options import nested_sections
from agentdistill.plugins.registry import PluginRegistry
from agentdistill.plugins.suggest import hint, listing

COMMAND_LINE = Origin("command line")
GIVEN = Origin("given")


def find_recipe(recipe: str, registry: PluginRegistry) -> Path:
    """Finds a recipe by path or by registered name.

    Raises:
        ConfigError: there is no such file and no such name.
    """
    path = Path(recipe)
    if path.suffix == ".toml" or len(path.parts) > 1:
        if path.is_file():
            return path
        raise ConfigError(
            f"There is no recipe file `{recipe}`.",
            do=f"Give the path of a TOML file or a recipe's name: {listing(registry.names('recipe'))}.",
        )
    if recipe in registry.names("recipe"):
        return registry.path("recipe", recipe)
    if path.with_suffix(".toml").is_file():
        known = f" There is a file `{recipe}.toml` here: write it with its ending."
    else:
        known = hint(recipe, registry.names("recipe"))
    if known or not registry.broken:
        raise ConfigError(
            f"There is no recipe named `{recipe}`.{known}", f"Known: {listing(registry.names('recipe'))}."
        )
    return registry.path("recipe", recipe)


def read_layer(path: Path) -> dict[str, Any]:
    """Reads one TOML file.

    Raises:
        ConfigError: it cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Cannot read the recipe `{path}`.", f"{error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"The recipe `{path}` is not valid TOML.", f"{error}.", "Mend that line.") from error


def load_config(
    recipes: Sequence[str | Mapping[str, Any]] = (),
    overrides: Mapping[str, Any] | None = None,
    *,
    registry: PluginRegistry | None = None,
    plugins: Sequence[str] = (),
) -> ResolvedConfig:
    """Resolves a configuration.

    Args:
        recipes: names or paths of TOML files, or nested mappings as one would hold; merged left to right.
        overrides: values by dotted path, applied last. Strings are read as TOML scalars where they are any.
        registry: the loaded plugins; modules of `run.plugins` are added to it. None loads the installed ones.
        plugins: modules given with `-p`; they are recorded in `run.plugins`, so that a resumed run has them.

    Returns:
        The validated configuration with the origin of every value.

    Raises:
        ConfigError: a recipe is missing or a value is wrong; every problem is named at once.
        PluginError: a section's plugin is unknown, ambiguous or broken.
    """
    registry = registry or PluginRegistry.load()
    registry.extend(plugins)
    layers: list[tuple[Mapping[str, Any], Origin]] = []
    for recipe in recipes:
        if isinstance(recipe, Mapping):
            layers.append((without_none(recipe), GIVEN))
            continue
        path = find_recipe(recipe, registry)
        layers.append((read_layer(path), Origin("file", path.name)))
    raw = {".".join(p.replace("-", "_") for p in k.split(".")): v for k, v in (overrides or {}).items()}
    parsed = {key: parse_scalar(value) if isinstance(value, str) else value for key, value in raw.items()}
    texts = {key: value for key, value in raw.items() if isinstance(value, str)}
    kinds = section_kinds()
    while True:
        merged, origins = merge([*layers, (nest(parsed), COMMAND_LINE)], kinds)
        _add_modules(merged, origins, plugins, registry)
        resolved, problems = _resolve(merged, origins, registry)
        # A value that TOML reads as a number may be wanted as text (a model named 7): give it back as it was typed.
        retyped = {p.path: texts[p.path] for p in problems if p.code == "string_type" and p.path in texts}
        retyped = {path: text for path, text in retyped.items() if parsed[path] != text}
        if not retyped:
            break
        parsed.update(retyped)
    if resolved is None:
        raise_problems(problems, lambda path: str(origin_of(path, origins) or ""))
    return resolved


def _add_modules(
    merged: dict[str, Any], origins: dict[str, Origin], plugins: Sequence[str], registry: PluginRegistry
) -> None:
    """Loads the modules that layers name, and records those given with `-p`."""
    run = merged.setdefault("run", {})
    written = run.get("plugins", []) if isinstance(run, dict) else []
    if isinstance(written, list) and all(isinstance(module, str) for module in written):
        modules = [*written, *(module for module in plugins if module not in written)]
        registry.extend(modules)
        registry.require_healthy(modules)
        if modules != written:
            run["plugins"] = modules
            origins["run.plugins"] = COMMAND_LINE


def _resolve(
    merged: Mapping[str, Any], origins: Mapping[str, Origin], registry: PluginRegistry
) -> tuple[ResolvedConfig | None, list[Problem]]:
    config, problems = find_problems(RunConfig, merged)
    if config is None:
        return None, [_shown(problem, merged) for problem in problems]
    values: dict[str, Any] = config.model_dump(mode="json")
    defaults: dict[str, Origin] = {}
    for path, section in config.plugin_sections():
        shown = _shown_path(path, merged)
        problems += _resolve_plugin(shown, section.KIND, section, registry, _table(values, path), defaults)
    for name in LISTS:
        if not isinstance(merged.get(name), list):
            values[name] = values[name][0] if values[name] else None
    if config.env is not None and config.eval.env:
        problems += _check_evaluation_env(config, registry)
    if problems:
        return None, problems
    provenance = {
        path: origin_of(path, origins) or defaults.get(path) or Origin("default") for path, _ in leaves(values)
    }
    return ResolvedConfig(config, provenance, values), []


def _shown_path(path: str, merged: Mapping[str, Any]) -> str:
    """A path as it was written: [reward] is the first of a list that nobody wrote as one."""
    name, _, rest = path.partition(".")
    number, dot, key = rest.partition(".")
    if name not in LISTS or isinstance(merged.get(name), list) or not number.isdigit():
        return path
    return f"{name}{dot}{key}"


def _shown(problem: Problem, merged: Mapping[str, Any]) -> Problem:
    return Problem(_shown_path(problem.path, merged), problem.message, problem.code)


def _table(values: Any, path: str) -> dict[str, Any]:
    for part in path.split("."):
        values = values[int(part)] if isinstance(values, list) else values[part]
    found: dict[str, Any] = values
    return found


def _resolve_plugin(
    path: str,
    kind: str,
    section: PluginSection,
    registry: PluginRegistry,
    table: dict[str, Any],
    defaults: dict[str, Origin],
) -> list[Problem]:
    """Validates one plugin section, and fills its plugin's defaults into its table of values."""
    model = registry.get(kind, section.type).config_class()
    options, shared = section.options(), section.shared()
    given = {**{k: v for k, v in shared.items() if k in model.model_fields and v is not None}, **options}
    validated, problems = find_problems(model, given, path)
    if validated is None:
        if not model.model_fields:
            problems = [Problem(p.path, f"`{section.type}` takes no options", p.code) for p in problems]
        return problems
    for key, value in validated.model_dump(mode="json").items():
        if key not in shared:
            table[key] = value
            for leaf, _ in leaves({key: value}):
                defaults[f"{path}.{leaf}"] = Origin("plugin default", section.type)
    return _resolve_nested(path, validated, registry, table, defaults)


def _resolve_nested(
    path: str, options: BaseModel, registry: PluginRegistry, table: dict[str, Any], defaults: dict[str, Origin]
) -> list[Problem]:
    """Validates the sections of other plugins in a plugin's options, each by its own plugin and at its own path."""
    problems: list[Problem] = []
    for within, kind, values in nested_sections(options):
        own = f"{path}.{within}"
        section, found = find_problems(section_of(kind), values, own)
        if section is not None:
            try:
                found = _resolve_plugin(own, kind, section, registry, _table(table, within), defaults)
            except PluginError as error:
                found = [Problem(f"{own}.type", f"{error.what} {error.why}")]
        problems += found
    return problems


def _check_evaluation_env(config: RunConfig, registry: PluginRegistry) -> list[Problem]:
    """Validates [eval.env] as [env] would be, with errors at its own path."""
    assert config.env is not None
    if "type" in config.eval.env:
        return [Problem("eval.env.type", "evaluation happens in the environment of [env]")]
    section, problems = find_problems(EnvSection, {**config.env.model_dump(), **config.eval.env}, "eval.env")
    if section is None:
        return problems
    model = registry.get("environment", section.type).config_class()
    shared = {k: v for k, v in section.shared().items() if k in model.model_fields and v is not None}
    _, problems = find_problems(model, {**shared, **section.options()}, "eval.env")
    return problems
