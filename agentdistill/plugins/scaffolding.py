"""`agentdistill plugins new`: a complete distribution with one plugin in it, from the templates beside this module."""

from __future__ import annotations

import importlib.util
import keyword
import re
from collections.abc import Mapping
from pathlib import Path

from agentdistill.errors import PluginError
from agentdistill.plugins.registry import PluginRegistry

TEMPLATES = Path(__file__).with_name("scaffold")

SUMMARIES: dict[str, str] = {
    "environment": "a corridor with a lamp to be brought home",
    "teacher": "likes some tokens more than others",
    "reward": "1 for success, less a price for every step",
    "loss": "on-policy distillation with an advantage that saturates",
    "step-weight": "later steps count more",
    "curriculum": "episodes grow longer with success",
}
"""The kinds that can be made new, with what the generated example is."""

ALIASES = {"env": "environment"}
"""What users may write for a kind."""

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")


def new_plugin(kind: str, name: str, registry: PluginRegistry) -> dict[str, str]:
    """Makes the files of a plugin.

    Args:
        kind: one of `SUMMARIES`, or "env".
        name: name of the distribution and of what it registers, e.g. "lamp-corridor".
        registry: the plugins there are; a name that is taken is refused.

    Returns:
        Path inside the new directory -> content.

    Raises:
        PluginError: the name cannot be used.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    kind = ALIASES.get(kind, kind)
    values = _values(kind, name, registry)
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    folder, module = kind.replace("-", "_"), values["module"]
    stem = "env" if kind == "environment" else folder
    files = {
        "pyproject.toml": "common/pyproject.toml",
        "README.md": f"{folder}/README.md",
        f"{module}/__init__.py": f"{folder}/__init__.py",
        f"{module}/{stem}.py": f"{folder}/{stem}.py",
        f"tests/test_{module}.py": f"{folder}/test.py",
    }
    return {path: templates.get_template(f"{source}.jinja").render(values) for path, source in files.items()}


def _values(kind: str, name: str, registry: PluginRegistry) -> Mapping[str, str]:
    module = name.replace("-", "_")
    title = "".join(part.capitalize() for part in module.split("_"))
    if not _NAME.fullmatch(name) or keyword.iskeyword(module):
        raise PluginError(
            f"A plugin cannot be named `{name}`.",
            "Its name becomes that of a distribution and of a Python module.",
            "Take lower-case letters, digits and single hyphens, beginning with a letter, for example my-game.",
        )
    if name in registry.names(kind):
        raise PluginError(
            f"There is a {kind} named `{name}` already.",
            f"It is {registry.get(kind, name)}.",
            "Choose another name: two plugins with one name are a clash.",
        )
    if importlib.util.find_spec(module) is not None:
        raise PluginError(
            f"A plugin named `{name}` would hide another module.",
            f"Python finds a module `{module}` already.",
            "Choose another name.",
        )
    return {
        "name": name,
        "module": module,
        "title": title,
        # The module of a function has a name of its own: `{{ module }}.reward:{{ function }}`.
        "function": module,
        "kind": kind.replace("-", " "),
        "article": "An" if kind[0] in "aeiou" else "A",
        "summary": SUMMARIES[kind],
    }
