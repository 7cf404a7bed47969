"""What every file of the repository keeps to."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from agentdistill.plugins import PluginRegistry

ROOT = Path(__file__).resolve().parents[2]
CODE = ("agentdistill", "plugins", "envs", "scripts")
LONGEST = 400


@cache
def files() -> tuple[Path, ...]:
    """Everything that is, or is about to be, in the repository."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return tuple(sorted(ROOT / name for name in names if name and (ROOT / name).is_file()))


def texts(*roots: str) -> Iterator[tuple[str, str]]:
    for path in files():
        name = path.relative_to(ROOT).as_posix()
        if roots and not name.startswith(tuple(f"{root}/" for root in roots)):
            continue
        try:
            yield name, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def sources(*roots: str) -> list[tuple[str, str]]:
    return [(name, text) for name, text in texts(*roots) if name.endswith(".py")]


def hits(pattern: str, found: Iterator[tuple[str, str]] | list[tuple[str, str]], flags: int = 0) -> list[str]:
    regex, here = re.compile(pattern, flags), Path(__file__).relative_to(ROOT).as_posix()
    return [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in found
        if name != here
        for number, line in enumerate(text.splitlines(), start=1)
        if regex.search(line)
    ]


def test_no_module_has_two_subjects() -> None:
    lengths = {name: text.count("\n") for name, text in sources(*CODE)}
    assert {name: n for name, n in lengths.items() if n > LONGEST} == {}
    assert statistics.median(n for name, n in lengths.items() if not name.endswith("__init__.py")) <= 220


ORDINARY = {
    "adaptive", "append", "divergence", "env", "format", "full", "gold", "guided", "outcome", "outcomes", "progress",
    "provenance", "prune", "quota", "scope", "score", "scored", "skills", "staleness", "stride", "switch", "truncated",
    "uniform", "viewed", "window",
}  # fmt: skip
"""Names of methods that are words which anybody may use."""


def test_the_core_knows_no_method_and_no_environment_by_name() -> None:
    kinds = (
        "loss", "step-weight", "token-weight", "advantage", "fusion", "surrogate", "curriculum", "filter", "reward",
        "environment", "view", "selection", "context",
    )  # fmt: skip
    registry = PluginRegistry.load(third_party=False)
    names = {name for kind in kinds for name in registry.names(kind)} - ORDINARY | {"tcod"}
    pattern = r"(?<![\w-])(" + "|".join(map(re.escape, sorted(names))) + r")(?![\w-])"
    assert len(names) > 60 and hits(pattern, sources("agentdistill"), re.IGNORECASE) == []


def test_nothing_is_left_half_done() -> None:
    stubs = r"NotImplementedError|\bTODO\b|\bFIXME\b|\bXXX\b|nan_to_num|except Exception:\s*pass|pragma: no cover"
    assert hits(stubs, sources(*CODE)) == []


def test_no_test_is_skipped() -> None:
    assert hits(r"pytest\.(mark\.)?(skip|xfail)|importorskip", sources("tests")) == []


def test_no_file_names_a_machine_or_a_registry() -> None:
    assert hits(r"(?<![\w./])/(root|work)(/|\b)", texts()) == []
    assert (
        hits(r"(?i)pypi\.org|pythonhosted|npmjs\.(org|com)|deb\.debian|download\.pytorch|--(extra-)?index-url", texts())
        == []
    )


def test_no_file_points_outside_the_repository() -> None:
    assert (
        hits(r"(?i)shared/research|research/(methods_|prototypes|environments\b|starter_|model_stack|peers)", texts())
        == []
    )


def test_every_option_of_a_plugin_is_documented() -> None:
    wrong = []
    for name, text in sources("agentdistill", "plugins", "envs"):
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.ClassDef) or "PluginConfig" not in [ast.unparse(base) for base in node.bases]:
                continue
            documented = ast.get_docstring(node) or ""
            fields = [
                item.target.id for item in node.body
                if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
                and "ClassVar" not in ast.unparse(item.annotation)
            ]  # fmt: skip
            wrong += [f"{name}: {node.name}.{field}" for field in fields if f"{field}:" not in documented]
    assert wrong == []


def test_public_docstrings_are_enforced() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert "D" in lint["select"] and set(lint["per-file-ignores"]) == {"tests/*"}


@cache
def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    wrong = [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._\-]+==[0-9][A-Za-z0-9.]*", line)]
    assert wrong == [], "constraints are plain pins, without addresses, paths or local versions"
    return {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines}


def test_every_dependency_has_a_pin_that_fits() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    requirements = [*project["dependencies"], *extras["alfworld"], *extras["lora"], *extras["test"]]
    for requirement in map(Requirement, requirements):
        version = pins().get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} has no pin in constraints.txt"
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement} does not allow {version}"


@pytest.mark.parametrize("name", ["scripts/test", "scripts/demo", ".ci/run"])
def test_scripts_are_executable_and_well_formed(name: str) -> None:
    path = ROOT / name
    assert path.stat().st_mode & 0o111
    assert path.read_text().startswith("#!/usr/bin/env bash\n") and "set -euo pipefail" in path.read_text()
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0
