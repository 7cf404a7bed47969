"""Pages of methods, one for each plugin that decides something, written from its docstrings, options and tests."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agentdistill.config.schema import section_kinds
from agentdistill.plugins import PluginRegistry
from agentdistill.plugins.kinds import KINDS
from agentdistill.plugins.options import field_descriptions, field_rows
from agentdistill.plugins.registration import Registration
from scripts.method_recipes import command, layer
from scripts.proof_tests import Proof, proofs

ROOT = Path(__file__).resolve().parent.parent
DISTRIBUTION = "agentdistill"

PAGED = (
    "loss",
    "step-weight",
    "token-weight",
    "advantage",
    "fusion",
    "surrogate",
    "curriculum",
    "reward",
    "filter",
    "selection",
    "teacher",
    "view",
    "context",
    "engine",
    "tracker",
)
"""Kinds whose plugins have a page each; the other kinds are listed in the index."""

HEADER = "<!-- Written by scripts/make_reference_docs.py from the code: change the docstrings, not this page. -->"
_ARXIV = re.compile(r"(?<![\d./])(\d{4}\.\d{5})(?!\d)")


NESTED = {"teacher.view": "view", "teacher.teacher": "teacher"}
"""Kinds of tables inside another plugin's options, by their place."""


def places() -> dict[str, str]:
    """Kind of plugin by the dotted path where a recipe chooses one."""
    return {**section_kinds(), **NESTED}


def file_name(entry: Registration) -> str:
    """Name of an entry's page."""
    return f"{entry.kind}-{entry.name.replace('/', '-')}.md"


def entries(registry: PluginRegistry) -> list[Registration]:
    """Everything this distribution registers that has a page, in the order of the index."""
    mine = [e for e in registry.all() if e.distribution == DISTRIBUTION and e.kind in PAGED]
    return sorted(mine, key=lambda e: (PAGED.index(e.kind), e.name))


def papers(*texts: str) -> list[str]:
    """Ids of arXiv in texts, each once."""
    return list(dict.fromkeys(found for text in texts for found in _ARXIV.findall(text)))


def documentation(entry: Registration) -> tuple[str, str]:
    """What the module of a target says, and what the target itself says beyond that."""
    target: Any = entry.load()
    module = inspect.cleandoc(importlib.import_module(entry.target.partition(":")[0]).__doc__ or "")
    own = inspect.cleandoc(target.__doc__ or "")
    own = re.split(r"^(?:Args|Returns|Raises|Attributes):$", own, flags=re.M)[0].strip()
    return module, "" if own.startswith("See `") else own


def page(entry: Registration, tests: Mapping[str, Mapping[str, Sequence[Proof]]], unable: Mapping[str, str]) -> str:
    """The page of one plugin.

    Args:
        entry: the plugin.
        tests: `proof_tests.proofs`.
        unable: why some methods do not learn the words of tests/identity, by "kind/name".
    """
    module, own = documentation(entry)
    parts = [f"# `{entry.name}` ({entry.kind})", HEADER, f"*{_sentence_case(entry.summary)}.*", _markdown(module)]
    if own and own not in module:
        parts.append(_markdown(own))
    parts += ["## Options", options_table(entry), "## In a recipe", recipe(entry)]
    if used := recipes_with(entry):
        parts.append(f"Recipes that use it: {', '.join(f'`{name}`' for name in used)}.")
    parts += ["## Where it comes from", source(entry, module, own)]
    parts += ["## Proofs", proof_list(entry, tests)]
    if why := unable.get(f"{entry.kind}/{entry.name}"):
        parts.append(f"It does not learn the words of `tests/identity` as other methods do: {why}")
    return "\n\n".join(parts) + "\n"


def _markdown(text: str) -> str:
    """A docstring as Markdown: `[...]` stays text, and indented formulas are code blocks by their indentation."""
    lines = [
        line if line.startswith("    ") else line.replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")
        for line in text.splitlines()
    ]
    joined = "\n".join(lines)
    # What is code already needs no escapes.
    return re.sub(r"`[^`\n]*`", lambda m: m[0].replace("\\", "").replace("&lt;", "<"), joined)


def options_table(entry: Registration) -> str:
    """Key, type, default and meaning of every option."""
    model = entry.config_class()
    if not model.model_fields:
        return "None."
    described = field_descriptions(model)
    rows = [
        f"| `{key}` | {_cell(kind)} | {_cell(default)} | {_cell(described.get(key, ''))} |"
        for key, kind, default in field_rows(model)
    ]
    return "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def recipe(entry: Registration) -> str:
    """A layer that chooses it, and the command that runs it."""
    parts = [f"```toml\n# layer.toml\n{text}\n```"] if (text := layer(entry)) else []
    return "\n\n".join([*parts, f"```\n{command(entry)}\n```"])


def recipes_with(entry: Registration) -> list[str]:
    """Names of the shipped recipes that choose it."""
    found = []
    for shipped in PluginRegistry.load(third_party=False).all("recipe"):
        text = tomllib.loads(shipped.path().read_text(encoding="utf-8"))
        if any(kind == entry.kind and entry.name in _types(text, path) for path, kind in places().items()):
            found.append(shipped.name)
    return sorted(found)


def _types(text: Mapping[str, Any], path: str) -> list[str]:
    section: Any = text
    for key in path.split("."):
        section = section.get(key, {}) if isinstance(section, Mapping) else {}
    sections = section if isinstance(section, list) else [section]
    return [str(one["type"]) for one in sections if isinstance(one, Mapping) and "type" in one]


def source(entry: Registration, *texts: str) -> str:
    """Papers and file."""
    spec = importlib.util.find_spec(entry.target.partition(":")[0])
    assert spec is not None and spec.origin is not None
    path = Path(spec.origin).resolve().relative_to(ROOT)
    lines = [f"* [arXiv {one}](https://arxiv.org/abs/{one})" for one in papers(*texts, entry.summary)]
    return "\n".join([*lines, f"* code: [`{path}`](../../{path})"])


def proof_list(entry: Registration, tests: Mapping[str, Mapping[str, Sequence[Proof]]]) -> str:
    """The tests that use it, by file; those that compare with a formula or another implementation are in bold."""
    module, _, attribute = entry.target.partition(":")
    found = tests_of(entry, tests)
    if not found:
        return f"None uses `{module}:{attribute}` by itself."
    lines = []
    for path in sorted({proof.path for proof in found}):
        names = [_sentence(proof) for proof in found if proof.path == path]
        lines.append(f"* [`{path}`](../../{path}): {'; '.join(names)}")
    return "\n".join(["Tests that compare with a formula, an enumeration or other code are in bold.", "", *lines])


def tests_of(entry: Registration, tests: Mapping[str, Mapping[str, Sequence[Proof]]]) -> Sequence[Proof]:
    """The tests of an entry: of its target or its options where they are named, of its module otherwise."""
    module, _, attribute = entry.target.partition(":")
    by_name = tests.get(module, {})
    options = (entry.config or "").partition(":")[2]
    named = {proof for name in (attribute, options) for proof in by_name.get(name, ())}
    return sorted(named) or by_name.get("", ())


def _sentence_case(text: str) -> str:
    return text[:1].upper() + text[1:]


def _sentence(proof: Proof) -> str:
    words = proof.name.rpartition(".")[2].removeprefix("test_").replace("_", " ")
    return f"**{words}**" if proof.oracle else words


def index(registry: PluginRegistry) -> str:
    """The table of all methods, and of what has no page of its own."""
    parts = [
        "# Methods",
        HEADER,
        "Every plugin that ships here: `agentdistill plugins list --kind KIND` on a terminal.",
    ]
    listed = entries(registry)
    for kind in PAGED:
        rows = [f"| [{e.name}]({file_name(e)}) | {_cell(e.summary)} | {_links(e)} |" for e in listed if e.kind == kind]
        if rows:
            table = "\n".join(["| name | what it does | paper |", "|---|---|---|", *rows])
            parts += [f"## {kind}", f"{_sentence_case(KINDS[kind].summary)}.", table]
    rest = [e for e in registry.all() if e.distribution == DISTRIBUTION and e.kind not in PAGED]
    rows = [f"| {e.kind} | `{e.name}` | {_cell(e.summary)} |" for e in sorted(rest, key=lambda e: (e.kind, e.name))]
    parts += ["## Everything else", "\n".join(["| kind | name | what it is |", "|---|---|---|", *rows])]
    return "\n\n".join(parts) + "\n"


def _links(entry: Registration) -> str:
    module, own = documentation(entry)
    found = papers(module, own, entry.summary)[:2]
    return ", ".join(f"[{one}](https://arxiv.org/abs/{one})" for one in found)


def pages() -> dict[str, str]:
    """File name -> text of everything in docs/methods."""
    registry = PluginRegistry.load(third_party=False)
    tests = proofs(ROOT)
    unable = exceptions()
    made = {file_name(entry): page(entry, tests, unable) for entry in entries(registry)}
    return {"README.md": index(registry), **made}


def exceptions() -> dict[str, str]:
    """Why some methods do not learn the words of tests/identity, by "kind/name"."""
    path = ROOT / "tests" / "identity" / "exceptions.py"
    spec = importlib.util.spec_from_file_location("identity_exceptions", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {name: f"{unable.why}; {_said(unable.said)}" for name, unable in module.UNABLE.items()}


def _said(shares: Sequence[float]) -> str:
    reached = ", ".join(f"{share:.2f}" for share in shares)
    return f"after fifty steps it says {reached} of them for three seeds, from 0.41."
