"""Lazy targets: "package.module:attribute" becomes an object, "package:relative/path" a file, when first used."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from agentdistill.errors import AgentDistillError, PluginError
from agentdistill.plugins.suggest import hint

OBJECT = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
"""Shape of a target that names an object."""

RESOURCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[\w.\-]+(/[\w.\-]+)*")
"""Shape of a target that names a file or directory inside a package."""


def import_user_module(name: str) -> ModuleType:
    """Imports a module that the user named: installed, in the current directory, or given as a `.py` file.

    A console script does not have the current directory on its path. It is appended only when the module
    is found nowhere else and lies there, so that a folder of results never shadows an installed package.
    """
    folder = Path.cwd()
    if name.endswith(".py"):
        file = Path(name)
        if not file.is_file():
            raise PluginError(f"The plugin file `{name}` does not exist.", do="Check the path given to -p.")
        folder, name = file.resolve().parent, file.stem
    root = name.partition(".")[0]
    if root not in sys.modules and importlib.util.find_spec(root) is None:
        here = (folder / f"{root}.py").is_file() or (folder / root / "__init__.py").is_file()
        if here and str(folder) not in sys.path:
            sys.path.append(str(folder))
            importlib.invalidate_caches()
    return importlib.import_module(name)


def missing_module(error: ModuleNotFoundError, distribution: str) -> str:
    """What to install when a plugin's own import failed.

    Args:
        error: the failure; `error.name` is the module that is missing.
        distribution: the plugin's distribution, whose extras are searched for the missing module.
    """
    import importlib.metadata

    root = (error.name or "").partition(".")[0]
    try:
        requirements = importlib.metadata.requires(distribution) if distribution else None
    except importlib.metadata.PackageNotFoundError:
        requirements = None
    for requirement in requirements or ():
        match = re.match(rf"{re.escape(root)}\b.*extra\s*==\s*[\"']([\w.-]+)[\"']", requirement, re.IGNORECASE)
        if match:
            return f"Install it with: pip install '{distribution}[{match[1]}]'"
    return f"Install the package that brings the module `{root}`."


def resolve(target: str, what: str, distribution: str = "") -> Any:
    """Imports the object that a target names.

    Args:
        target: "package.module:attribute".
        what: for errors, e.g. "the step-weight `x` of plugin `y`".
        distribution: the plugin's distribution, for install hints.

    Raises:
        PluginError: the module cannot be imported or has no such attribute.
    """
    if not OBJECT.fullmatch(target):
        raise PluginError(f"`{target}` is not a target.", do='Write it as "package.module:attribute".')
    module_name, _, attribute = target.partition(":")
    try:
        module = import_user_module(module_name)
    except AgentDistillError:
        raise
    except ModuleNotFoundError as error:
        own = error.name is not None and (module_name + ".").startswith(error.name + ".")
        why = f"There is no module `{error.name}`" + (
            f", which its code imports (`{module_name}`)." if not own else "."
        )
        do = f"Check the target `{target}`." if own else missing_module(error, distribution)
        raise PluginError(f"Cannot import {what}.", why, do) from error
    except Exception as error:
        why = f"Importing `{module_name}` raised {type(error).__name__}: {error}."
        raise PluginError(f"Cannot import {what}.", why, "Mend the plugin or choose another.") from error
    value: Any = module
    for part in attribute.split("."):
        try:
            value = getattr(value, part)
        except AttributeError as error:
            why = f"The module `{module_name}` has no attribute `{attribute}`.{hint(part, vars(value))}"
            raise PluginError(f"Cannot find {what}.", why, f"Check the target `{target}`.") from error
    return value


def resolve_path(target: str, what: str) -> Path:
    """Finds the file or directory that a target names, without importing the package that holds it.

    Raises:
        PluginError: there is no such package, or nothing at that path inside it.
    """
    package, _, relative = target.partition(":")
    try:
        spec = importlib.util.find_spec(package)
    except ModuleNotFoundError:
        spec = None
    if spec is None:
        raise PluginError(f"Cannot find {what}.", f"There is no package `{package}`.", f"Check the target `{target}`.")
    if spec.submodule_search_locations:
        folders = [Path(location) for location in spec.submodule_search_locations]
    else:
        folders = [Path(spec.origin or "").parent]
    for folder in folders:
        if (folder / relative).exists():
            return folder / relative
    raise PluginError(
        f"Cannot find {what}.",
        f"The package `{package}` holds no `{relative}`.",
        "Its installation is incomplete; install it again.",
    )
