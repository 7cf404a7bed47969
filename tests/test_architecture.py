"""The import rules of docs/design.md, read from its tables, hold in the code."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {"torch", "transformers", "peft", "safetensors", "accelerate", "vllm"}

DOORS = {"agentdistill", "agentdistill.evaluate"}
"""Packages whose `__init__` offers names of higher rooms, imported on first use."""


@dataclass(frozen=True)
class Import:
    """One import: of which module, which name, where it stands."""

    importer: str
    module: str
    name: str
    line: int
    top_level: bool
    types_only: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.module}" + (f".{self.name}" if self.name else "")


def module_name(path: Path, base: Path) -> str:
    parts = path.relative_to(base).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path, base: Path) -> Iterator[Import]:
    importer = module_name(path, base)
    package = importer if path.name == "__init__.py" else importer.rpartition(".")[0]

    def visit(node: ast.AST, top: bool, types: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(importer, alias.name, "", child.lineno, top, types)
            elif isinstance(child, ast.ImportFrom):
                module = child.module or ""
                if child.level:
                    parents = package.split(".")[: len(package.split(".")) - child.level + 1]
                    module = ".".join([*parents, *([module] if module else [])])
                for alias in child.names:
                    yield Import(importer, module, alias.name, child.lineno, top, types)
            else:
                inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                guard = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
                yield from visit(child, top and not inside, types or guard)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), True, False)


@cache
def core() -> tuple[Import, ...]:
    return tuple(i for path in sorted((ROOT / "agentdistill").rglob("*.py")) for i in imports_of(path, ROOT))


@cache
def outside() -> tuple[Import, ...]:
    roots = [ROOT / "plugins", ROOT / "envs"]
    return tuple(i for base in roots for path in sorted(base.rglob("*.py")) for i in imports_of(path, base))


def table(heading: str) -> list[list[str]]:
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    section = re.split(r"^## ", text, flags=re.MULTILINE)
    (body,) = [part for part in section if part.startswith(heading)]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines() if line.startswith("|")]
    return rows[2:]


@cache
def rooms() -> dict[str, tuple[frozenset[str], str]]:
    found = {}
    for name, _, allowed, torch in table("What may import what"):
        found[name.strip("`")] = (frozenset(filter(None, (part.strip() for part in allowed.split(",")))), torch)
    return found


def room_of(module: str) -> str:
    """The room of a module, "" for the package root; `python -m agentdistill` is the command line's door."""
    parts = module.split(".")[1:]
    inner = ".".join(parts[:2])
    return inner if inner in rooms() else "cli" if parts[:1] == ["__main__"] else "".join(parts[:1])


def targets(imported: Import) -> Iterator[str]:
    """Modules that an import may load: `from agentdistill import errors` loads the room, too."""
    yield imported.module
    if imported.name:
        yield f"{imported.module}.{imported.name}"


def test_every_room_is_in_the_table_and_the_other_way_round() -> None:
    on_disk = {
        path.stem for path in (ROOT / "agentdistill").iterdir()
        if (path.suffix == ".py" and not path.stem.startswith("__")) or (path / "__init__.py").exists()
    }  # fmt: skip
    assert on_disk == {name for name in rooms() if "." not in name}
    assert all((ROOT / "agentdistill" / f"{name.replace('.', '/')}.py").is_file() for name in rooms() if "." in name)
    for name, (allowed, torch) in rooms().items():
        assert allowed <= set(rooms()) - {name}, name
        assert torch in {"never", "lazily", "yes"}, name


def test_rooms_import_only_what_the_table_allows() -> None:
    wrong = []
    for imported in core():
        if imported.importer in DOORS and (imported.types_only or not imported.top_level):
            continue
        room = room_of(imported.importer)
        others = {room_of(target) for target in targets(imported) if target.split(".")[0] == "agentdistill"}
        if others & rooms().keys() - {room} - (rooms()[room][0] if room else {"envs"}):
            wrong.append(str(imported))
    assert not wrong


def test_what_the_table_allows_is_not_far_from_what_is_used() -> None:
    """Only the rooms that put everything together may have more than they use today."""
    used: dict[str, set[str]] = {name: set() for name in rooms()}
    for imported in core():
        room = room_of(imported.importer)
        if room:
            used[room] |= {room_of(t) for t in targets(imported) if t.split(".")[0] == "agentdistill"} & set(rooms())
    spare = {name: sorted(allowed - used[name]) for name, (allowed, _) in rooms().items()}
    assert all(
        len(unused) <= 2 for name, unused in spare.items() if name not in {"training", "cli", "plugins.smoke"}
    ), spare


def test_torch_is_imported_only_where_the_table_says() -> None:
    wrong = []
    for imported in core():
        if imported.module.split(".")[0] not in HEAVY or imported.types_only:
            continue
        allowed = rooms()[room_of(imported.importer)][1] if room_of(imported.importer) else "never"
        if allowed == "never" or (allowed == "lazily" and imported.top_level):
            wrong.append(f"{imported} (torch: {allowed})")
    assert not wrong


def test_the_core_imports_no_plugin_and_no_environment() -> None:
    assert not [str(i) for i in core() if i.module.startswith("agentdistill_")]


def test_plugins_and_environments_import_public_modules_only() -> None:
    public = [row[0].strip("`") for row in table("The public modules")]
    whole = {name for name in public if (ROOT / name.replace(".", "/")).is_dir()} - {"agentdistill"}
    wrong = []
    for imported in outside():
        if imported.module.split(".")[0] != "agentdistill":
            continue
        known = any(t in public or any(t.startswith(f"{p}.") for p in whole) for t in targets(imported))
        if imported.module == "agentdistill" and imported.name not in {"hookimpl", "__version__"}:
            known = f"agentdistill.{imported.name}" in public
        if not known:
            wrong.append(str(imported))
    assert not wrong
    for name in public:
        path = ROOT / name.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").exists(), name


def test_plugins_and_environments_do_not_import_one_another() -> None:
    wrong = [
        str(i) for i in outside()
        if i.module.startswith("agentdistill_") and i.module.split(".")[0] != i.importer.split(".")[0]
    ]  # fmt: skip
    assert not wrong


def test_private_names_stay_in_their_room() -> None:
    wrong = []
    for imported in (*core(), *outside()):
        same = imported.module.split(".")[:2] == imported.importer.split(".")[:2]
        if not imported.module.startswith("agentdistill_"):
            private = any(
                p.startswith("_") and p != "__version__" for p in (*imported.module.split("."), imported.name)
            )
            if imported.module.split(".")[0] == "agentdistill" and private and not same:
                wrong.append(str(imported))
    assert not wrong


def test_modules_do_not_import_in_circles() -> None:
    """Over the imports that run when a module is loaded."""
    modules = {module_name(path, ROOT) for path in (ROOT / "agentdistill").rglob("*.py")}
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for imported in core():
        if imported.top_level and not imported.types_only:
            loaded = [t for t in targets(imported) if t in modules]
            graph[imported.importer] |= {max(loaded, key=len)} - {imported.importer} if loaded else set()
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


LIGHT = """
import sys
import agentdistill.cli
heavy = sorted({"torch", "transformers", "gymnasium", "peft", "alfworld", "textworld"} & sys.modules.keys())
assert not heavy, heavy
"""


def test_the_cli_starts_without_heavy_imports() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
