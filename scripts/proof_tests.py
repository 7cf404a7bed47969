"""Finds the tests that prove a plugin: those that use, directly or through helpers, what its module defines."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PREFIX = "agentdistill_"
"""What the names of plugin packages begin with."""


@dataclass(frozen=True, order=True)
class Proof:
    """A test that uses a plugin.

    Attributes:
        path: its file, relative to the repository.
        name: its name, with its class.
        oracle: it compares with a formula, an enumeration or another implementation.
    """

    path: str
    name: str
    oracle: bool


def proofs(root: Path) -> dict[str, dict[str, list[Proof]]]:
    """Tests by the plugin module, and by the name in it, that they use.

    Args:
        root: the repository.

    Returns:
        Module -> name in it ("" for the module as a whole) -> tests, sorted.
    """
    found: dict[str, dict[str, set[Proof]]] = {}
    for path in sorted((root / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for proof, used in _tests(tree, str(path.relative_to(root))):
            for module, name in used:
                for key in {"", name}:
                    found.setdefault(module, {}).setdefault(key, set()).add(proof)
    return {module: {name: sorted(tests) for name, tests in names.items()} for module, names in found.items()}


Use = tuple[str, str]
"""A plugin module, and what is used of it."""


def _tests(tree: ast.Module, path: str) -> Iterator[tuple[Proof, set[Use]]]:
    imported = dict(_imports(tree))
    bodies = {name: node for node in tree.body for name in _defined(node)}
    everything = "oracle" in _words([node for node in tree.body if "pytestmark" in _defined(node)])
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            marked = everything or "oracle" in _words(node.decorator_list)
            helpers = bodies | {name: child for child in node.body for name in _defined(child)}
            for child in node.body:
                if isinstance(child, ast.FunctionDef) and child.name.startswith("test"):
                    yield _test(child, f"{node.name}.{child.name}", path, imported, helpers, marked)
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            yield _test(node, node.name, path, imported, bodies, everything)


def _test(
    node: ast.FunctionDef,
    name: str,
    path: str,
    imported: Mapping[str, Use],
    bodies: Mapping[str, ast.stmt],
    marked: bool,
) -> tuple[Proof, set[Use]]:
    oracle = marked or "oracle" in _words(node.decorator_list)
    words, texts = _reached(node, bodies)
    used = {imported[word] for word in words if word in imported}
    used |= {(module, attribute) for text in texts for module, _, attribute in [text.partition(":")] if attribute}
    return Proof(path, name, oracle), {use for use in used if use[0].startswith(PREFIX)}


def _imports(tree: ast.Module) -> Iterator[tuple[str, Use]]:
    """Local name -> what of a plugin module it is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PREFIX):
            module = node.module or ""
            for alias in node.names:
                inside = "." not in module  # `from package import module`
                yield alias.asname or alias.name, (f"{module}.{alias.name}", "") if inside else (module, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith(PREFIX):
                    yield alias.asname or alias.name.partition(".")[0], (alias.name, "")


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [inner.id for target in targets for inner in ast.walk(target) if isinstance(inner, ast.Name)]


def _reached(node: ast.stmt, bodies: Mapping[str, ast.stmt]) -> tuple[set[str], set[str]]:
    """Names and texts that a function uses, those of the helpers it uses included."""
    words, texts, waiting, seen = set[str](), set[str](), [node], {id(node)}
    while waiting:
        current = waiting.pop()
        mine = _words([current])
        words |= mine
        texts |= {n.value for n in ast.walk(current) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        for word in mine:
            helper = bodies.get(word)
            if helper is not None and id(helper) not in seen:
                seen.add(id(helper))
                waiting.append(helper)
    return words, texts


def _words(nodes: Iterable[ast.AST]) -> set[str]:
    """Identifiers in some code, arguments (fixtures) included."""
    found: set[str] = set()
    for node in nodes:
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name):
                found.add(inner.id)
            elif isinstance(inner, ast.Attribute):
                found.add(inner.attr)
            elif isinstance(inner, ast.arg):
                found.add(inner.arg)
    return found
