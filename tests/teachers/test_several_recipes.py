"""The recipes for two teachers and for words alone resolve as layers, say what they do, and the first one runs."""

from __future__ import annotations

import json

import pytest

from agentdistill.config import load_config
from agentdistill.plugins import PluginRegistry
from agentdistill.training.run import Run


@pytest.fixture(scope="module")
def registry() -> PluginRegistry:
    return PluginRegistry.load(third_party=False)


@pytest.mark.parametrize("name", ["two-teachers", "blackbox"])
@pytest.mark.parametrize("before", [[], ["starter"]], ids=["pair", "starter"])
def test_a_layer_resolves(name, before, registry):
    config = load_config(["tcod-alfworld", *before, f"{name}-alfworld"], registry=registry).config
    assert config.teacher is not None and config.run.name == f"{name}-alfworld"
    assert config.teacher.type == {"two-teachers": "route", "blackbox": "chat"}[name]
    assert (config.loss is None) == (name == "blackbox")
    text = registry.path("recipe", f"{name}-alfworld").read_text(encoding="utf-8")
    assert f"agentdistill train tcod-alfworld starter {name}-alfworld" in text


def test_what_may_be_spent_does_not_make_another_run(registry):
    recipes = ["tcod-alfworld", "starter", "blackbox-alfworld"]
    prices = {"teacher.price_in": 1.0, "teacher.price_out": 1.0}
    small, large, other = (
        load_config(recipes, {**prices, **more}, registry=registry)
        for more in ({"teacher.budget": 1.0}, {"teacher.budget": 2.0}, {"teacher.model": "x"})
    )
    assert small.hash == large.hash != other.hash and not small.differences(large.values)


def test_two_teachers_run_on_the_models_that_ship(registry, tmp_path):
    values = {
        "run.directory": str(tmp_path / "run"), "env.generated": {"train": 8, "seen": 4, "unseen": 4},
        "curriculum.type": "full", "env.max_steps": 8, "rollout.tasks_per_step": 4, "optim.steps": 1,
        "eval.panel": False, "run.self_test": False,
    }  # fmt: skip
    recipes = ["tcod-alfworld", "starter", "two-teachers-alfworld"]
    Run(load_config(recipes, values, registry=registry), registry).train()
    (line,) = [json.loads(text) for text in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    shares = [line[f"teacher/share/{name}"] for name in ("model", "expert")]
    assert sum(shares) == pytest.approx(1.0) and all(0 < share < 1 for share in shares)
    assert line["tokens/dead"] == 0
