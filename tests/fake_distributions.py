"""Throw-away plugin distributions, installed the way pip installs them: metadata and a module on sys.path."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """install("dist-name", module_name="source", ...): one entry point per module, group `agentdistill`."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)

    def _install(distribution: str, version: str = "1.0", requires: tuple[str, ...] = (), **modules: str) -> Path:
        metadata = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {distribution}", f"Version: {version}"]
        lines += [f"Requires-Dist: {requirement}" for requirement in requires]
        (metadata / "METADATA").write_text("\n".join(lines) + "\n")
        entries = "".join(f"{name} = {name}\n" for name in modules)
        (metadata / "entry_points.txt").write_text(f"[agentdistill]\n{entries}")
        for name, source in modules.items():
            (site / f"{name}.py").write_text(source)
        importlib.invalidate_caches()
        return site

    yield _install
    for name in set(sys.modules) - before:
        module = sys.modules[name]
        if str(getattr(module, "__file__", "") or "").startswith(str(tmp_path)):
            del sys.modules[name]


REGISTER = """
from agentdistill import hookimpl

@hookimpl
def agentdistill_register_{plural}(register):
    register({name!r}, {target!r}, config={config!r}, summary="made for a test")
"""


@pytest.fixture
def registering() -> Callable[..., str]:
    """Source of a module that registers one thing."""

    def _registering(name: str, target: str, config: str | None = None, plural: str = "step_weights") -> str:
        return REGISTER.format(name=name, target=target, config=config, plural=plural)

    return _registering
