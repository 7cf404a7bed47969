"""The recipes with privileged teachers resolve, also in their nested tables, and are what their papers say."""

from __future__ import annotations

import pytest

from agentdistill.cli import main
from agentdistill.config import load_config
from agentdistill.plugins import PluginRegistry

RECIPES = {
    "opsd": ("opsd", "frozen", "opsd"),
    "sdpo": ("sdpo", "ema", "opd"),
    "skill-sd": ("skills", "frozen", "opd"),
}


@pytest.fixture(scope="module")
def registry() -> PluginRegistry:
    return PluginRegistry.load()


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_resolves_with_its_nested_tables(name, registry):
    view, weights, loss = RECIPES[name]
    config = load_config([f"{name}-alfworld"], registry=registry).config
    assert config.teacher is not None and config.loss is not None
    assert (config.teacher.type, config.loss.type) == ("privileged", loss)
    options = config.teacher.options()
    assert options["view"]["type"] == view
    made = registry.build("view", options["view"], "teacher.view")
    inner = registry.options("teacher", options["teacher"], "teacher.teacher").model_dump()
    assert inner["weights"] == weights and made.scope == ("shared" if view == "skills" else "instance")
    text = registry.path("recipe", f"{name}-alfworld").read_text(encoding="utf-8")
    assert f"agentdistill train {name}-alfworld" in text and f'name = "{name}-alfworld"' in text


def test_skills_are_those_of_the_six_types(registry):
    options = load_config(["skill-sd-alfworld"], registry=registry).config.teacher.options()
    source = registry.build("environment", {"type": "alfworld", "generated": {"train": 60}}, "env")
    assert {task.type for task in source.tasks("train")} <= set(options["view"]["types"])
    assert len(options["view"]["types"]) == 6


@pytest.mark.parametrize("name", RECIPES)
def test_a_dry_run_shows_the_tables(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", f"{name}-alfworld", "--dry-run", "--teacher.teacher.weights", "live"])
    printed = capsys.readouterr().out
    assert ended.value.code in (0, None)
    assert 'type = "privileged"' in printed and 'weights = "live"' in printed
