"""Tiny students in generated households: the whole walk of a run in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import tiny_model, tiny_tokenizer

from agentdistill.config.load import load_config
from agentdistill.plugins.registry import PluginRegistry
from agentdistill.training.run import Run

BASE = """
[run]
name = "tiny"
seed = 3
checkpoint_every = 2

[env]
type = "alfworld"
engine = "fast"
max_steps = 4
generated = { train = 12, seen = 6, unseen = 6 }

[student]
model = "STUDENT"

[teacher]
type = "local"
model = "TEACHER"

[curriculum]
type = "tcod-f2b"
start = 1
every = 2

[step_weight]
type = "sod"

[loss]
type = "opd"

[rollout]
tasks_per_step = 4
max_new_tokens = 6
concurrency = 3

[optim]
lr = 1e-3
steps = 6
reduction = "turn-mean"
"""


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models `student` and `teacher`."""
    folder = tmp_path_factory.mktemp("models")
    for name, seed in (("student", 1), ("teacher", 2)):
        tiny_model(seed=seed, hidden=32).save_pretrained(folder / name)
        tiny_tokenizer().save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="session")
def recipe(models: Path) -> Path:
    """A recipe of six optimiser steps."""
    path = models / "recipe.toml"
    path.write_text(BASE.replace("STUDENT", str(models / "student")).replace("TEACHER", str(models / "teacher")))
    return path


@pytest.fixture
def make_run(recipe: Path, tmp_path: Path):
    """Makes a run of the recipe with overrides, in its own directory."""

    def make(name: str = "run", **overrides: object) -> Run:
        registry = PluginRegistry.load()
        dotted = {key.replace("__", "."): value for key, value in overrides.items()}
        values = {"run.directory": str(tmp_path / name), **dotted}
        return Run(load_config([str(recipe)], values, registry=registry), registry)

    return make
