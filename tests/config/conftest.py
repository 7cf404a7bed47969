"""A registry of toys, and a recipe that uses them."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentdistill.plugins import PluginRegistry
from tests.config.toy_plugins import RECIPE, TOYS
from tests.fake_distributions import install, registering

__all__ = ["install", "recipe", "registering", "registry"]


@pytest.fixture
def registry(install) -> PluginRegistry:
    """Our own plugins and the toys; the recipe `toy` is registered."""
    site = install("toy-dist", toy_plugin=TOYS)
    (site / "toy_data" / "recipes").mkdir(parents=True)
    (site / "toy_data" / "__init__.py").write_text("")
    (site / "toy_data" / "recipes" / "toy.toml").write_text(RECIPE)
    return PluginRegistry.load()


@pytest.fixture
def recipe(tmp_path: Path):
    """recipe("text") writes one layer to disk and gives its path."""
    count = iter(range(100))

    def write(text: str) -> str:
        path = tmp_path / f"layer{next(count)}.toml"
        path.write_text(text)
        return str(path)

    return write
