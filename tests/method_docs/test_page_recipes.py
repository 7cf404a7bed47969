"""The recipe on every page runs: it resolves over a recipe that ships, and its methods have what they need."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from agentdistill.cli.select import select
from agentdistill.config.load import load_config
from agentdistill.plugins import PluginRegistry
from agentdistill.plugins.registration import Registration
from agentdistill.training.assembly import Parts
from agentdistill.training.methods import Methods

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from scripts import method_pages, method_recipes  # noqa: E402

REGISTRY = PluginRegistry.load(third_party=False)
STARTER = Parts(load_config(method_recipes.BASE, {}, registry=REGISTRY), REGISTRY)
"""The recipe below, whose models are loaded once."""

ENTRIES = method_pages.entries(REGISTRY)


def block(entry: Registration, language: str) -> str:
    """The first block of a language under "In a recipe" on a page, "" without one."""
    page = (ROOT / "docs" / "methods" / method_pages.file_name(entry)).read_text(encoding="utf-8")
    section = re.split(r"^## ", page.partition("## In a recipe\n")[2], maxsplit=1, flags=re.M)[0]
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", section, re.S | re.M)
    return next((text for name, text in blocks if name == language), "")


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: f"{e.kind}/{e.name}")
def test_the_recipe_on_its_page_runs(entry: Registration, tmp_path: Path) -> None:
    name, command, *arguments = shlex.split(block(entry, ""))
    assert name == "agentdistill"
    recipes = [argument for argument in arguments if not argument.startswith("-")]
    text = block(entry, "toml")
    if not text:  # chosen by an option of the command, whose arguments are checked instead
        assert entry.kind == "selection" and REGISTRY.function("selection", {"type": entry.name}) is not None
        assert command == "select" and select.make_context(command, arguments).params["by"] == entry.name
        return
    (tmp_path / "layer.toml").write_text(text)
    layers: list[Any] = [str(tmp_path / r) if r == "layer.toml" else r for r in recipes]
    resolved = load_config(layers, {}, registry=REGISTRY)
    parts = Parts(resolved, REGISTRY)
    Methods(resolved.config, REGISTRY).needs  # noqa: B018
    assert parts.curriculum is not None
    # Contexts and engines may want what is not here: collected episodes, a server.
    if resolved.config.teacher == STARTER.config.teacher and entry.kind not in ("context", "engine"):
        vars(parts).update(student=STARTER.student, teacher=STARTER.teacher)
        assert parts.learner(tmp_path, distil=True) is not None and parts.guides is not None
        assert parts.request is not None
