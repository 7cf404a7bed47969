"""The combined recipes resolve, alone and over the laptop's layer, and say what their papers do."""

from __future__ import annotations

import pytest

from agentdistill.cli import main
from agentdistill.config import load_config
from agentdistill.plugins import PluginRegistry

RECIPES = {
    "atod": ("grpo", "atod"),
    "gigpo": ("gigpo", "additive"),
    "kdrl": ("grpo", "kdrl"),
    "opd-then-rl": ("grpo", "switch"),
    "rlsd": ("gigpo", "rlsd"),
    "tide": ("gigpo", "tide"),
}


@pytest.fixture(scope="module")
def registry() -> PluginRegistry:
    return PluginRegistry.load()


@pytest.mark.parametrize("name", RECIPES)
def test_a_combined_recipe_resolves(name, registry):
    config = load_config([f"{name}-alfworld", "starter"], registry=registry).config
    assert config.advantage is not None and config.fusion is not None and config.loss is not None
    assert (config.advantage.type, config.fusion.type) == RECIPES[name]
    assert config.reward[0].type == "outcome" and config.rollout.samples_per_task > 1
    assert config.student is not None and config.student.model == "starter"
    text = registry.path("recipe", f"{name}-alfworld").read_text(encoding="utf-8")
    assert f"agentdistill train {name}-alfworld starter" in text and f'name = "{name}-alfworld"' in text


def test_dry_run_prints_where_values_come_from(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "atod-alfworld", "starter", "--dry-run"])
    printed = capsys.readouterr().out
    assert ended.value.code in (0, None)
    assert 'type = "atod"' in printed and "# plugin default of atod" in printed
